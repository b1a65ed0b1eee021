"""Lets Twisted wait for asyncio and asyncio for Twisted, on one loop."""

from __future__ import annotations

import asyncio

import pytest
from twisted.internet.defer import Deferred

from hermit_proxy.bridge import deferred, future


def test_each_waits_for_the_other_and_gets_results_and_errors() -> None:
    async def half(value: int) -> int:
        await asyncio.sleep(0)
        return 10 // value

    async def run() -> None:
        assert await future(deferred(half(5))) == 2
        with pytest.raises(ZeroDivisionError):
            await future(deferred(half(0)))

    asyncio.run(run())


def test_work_that_twisted_cancels_is_cancelled_and_told_once_it_has_ended() -> None:
    async def run() -> None:
        ended: list[str] = []
        over = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append("work")

        told: Deferred[None] = deferred(work())
        told.addBoth(lambda failure: ended.append(failure.type.__name__))
        told.addBoth(lambda _none: over.set())
        await asyncio.sleep(0)
        told.cancel()
        await over.wait()
        assert ended == ["work", "CancelledError"]

    asyncio.run(run())

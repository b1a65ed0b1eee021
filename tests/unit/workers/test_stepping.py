"""Runs steps that end, that take too long, and whose proxy dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import PurePosixPath
from typing import Any, cast

import pytest

from hermit_proxy.run.process import ProxyDiedError, ProxyProcess
from hermit_workers.cell import Cell, Command, Ended
from hermit_workers.stepping import run_step

COMMAND = Command(("make",), {}, PurePosixPath("/"))


class Place:
    """Is a cell and a proxy of which a test says when the command ends and when the proxy dies."""

    def __init__(self) -> None:
        self.died: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.did: list[str] = []

    async def run(self, command: Command, *, output: int) -> Ended:
        assert (command, output) == (COMMAND, 7)
        try:
            return await self.ended
        except asyncio.CancelledError:
            self.did.append("cancelled")
            raise

    async def stop(self) -> None:
        self.did.append("stopped")

    async def status(self) -> None:
        raise ProxyDiedError("the proxy was killed")

    def step(self, seconds: float | None = None) -> Coroutine[Any, Any, Ended]:
        return run_step(cast("Cell", self), COMMAND, cast("ProxyProcess", self), seconds, 7)


def within(test: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await test(Place())

    asyncio.run(run())


def test_a_step_that_ends_by_itself_says_how_and_the_cell_goes_on() -> None:
    async def test(place: Place) -> None:
        place.ended.set_result(Ended(3))
        assert await place.step(60.0) == Ended(3)
        assert place.did == []

    within(test)


def test_a_step_that_takes_longer_than_its_time_ends_with_its_cell() -> None:
    async def test(place: Place) -> None:
        assert await place.step(0.5) == Ended(124, "time: 0.5 s of 0.5 s (the step's own)")
        assert place.did == ["stopped", "cancelled"]

    within(test)


def test_a_step_whose_proxy_dies_is_worth_nothing() -> None:
    async def test(place: Place) -> None:
        place.died.set_result(-9)
        with pytest.raises(ProxyDiedError):
            await place.step()
        assert place.did == ["cancelled"]

    within(test)


def test_a_step_that_is_given_up_leaves_no_command_waiting() -> None:
    async def test(place: Place) -> None:
        task = asyncio.ensure_future(place.step())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert place.did == ["cancelled"]

    within(test)

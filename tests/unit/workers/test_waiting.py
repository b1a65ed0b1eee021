"""Waits for work that is cancelled, fails or gives something."""

from __future__ import annotations

import asyncio

import pytest

from hermit_workers.waiting import to_the_end


def test_what_must_be_done_is_done_before_a_cancelled_task_ends() -> None:
    done: list[str] = []

    async def clear_up() -> None:
        for number in range(3):
            await asyncio.sleep(0)
            done.append(f"part {number}")

    async def run() -> None:
        task = asyncio.create_task(to_the_end(clear_up()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert done == ["part 0", "part 1", "part 2"]


def test_what_must_be_done_gives_its_result_or_its_error() -> None:
    async def give(value: int) -> int:
        await asyncio.sleep(0)
        return 6 // value

    assert asyncio.run(to_the_end(give(2))) == 3
    with pytest.raises(ZeroDivisionError):
        asyncio.run(to_the_end(give(0)))

"""Leaves by steps of which some fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hermit_workers.leaving import leave_all


def test_every_step_is_done_and_the_first_error_is_raised() -> None:
    done: list[str] = []

    def step(name: str, error: BaseException | None = None) -> Callable[[], Awaitable[None]]:
        async def leave() -> None:
            done.append(name)
            if error is not None:
                raise error

        return leave

    steps = (step("a"), step("b", asyncio.CancelledError()), step("c", OSError("later")), step("d"))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave_all(*steps))
    assert done == ["a", "b", "c", "d"]


def test_steps_that_go_well_raise_nothing() -> None:
    done: list[int] = []

    async def leave() -> None:
        done.append(1)

    asyncio.run(leave_all(leave, leave))
    assert done == [1, 1]

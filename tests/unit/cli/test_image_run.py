"""What interrupts the work of `hermit image` is told when everything has been cleaned up."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from hermit_cli.image_run import run_in_order
from hermit_cli.interrupts import InterruptedRunError


async def _give(value: int) -> int:
    return value


def test_what_comes_of_the_work_is_given() -> None:
    assert run_in_order(_give(3)) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_interrupts_a_making_is_told_when_everything_is_cleaned_up(number: int) -> None:
    cleaned = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(30)
        finally:
            os.kill(os.getpid(), number)  # a second one stops no cleaning
            await asyncio.sleep(0.05)
            cleaned.append(number)

    with pytest.raises(InterruptedRunError, match=signal.Signals(number).name):
        run_in_order(work())
    assert cleaned == [number]

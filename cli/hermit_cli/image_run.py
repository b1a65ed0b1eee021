"""Runs the work of `hermit image` to its end, or to a signal and everything cleaned up after it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from hermit_cli.interrupts import InterruptedRunError

Value = TypeVar("Value")

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_in_order(work: Coroutine[Any, Any, Value]) -> Value:
    """Run to the end and give what comes of it; raise InterruptedRunError when a signal was heard and all is clean."""
    return asyncio.run(_in_order(work))


async def _in_order(work: Coroutine[Any, Any, Value]) -> Value:
    task = asyncio.ensure_future(work)
    heard: list[str] = []

    def on_signal(number: int) -> None:
        if not heard:  # a second one would leave half of what is being cleaned up
            heard.append(signal.Signals(number).name)
            task.cancel()

    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) has it
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not heard:
            raise
        raise InterruptedRunError(f"interrupted by {heard[0]}", hint="run it again") from None

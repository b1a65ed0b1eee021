"""Attends to a run's terminal: its status line is drawn, and its signals are led to whoever has to obey them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hermit_cli.interrupts import Interrupts
from hermit_cli.progress import Progress

_TICK = 1.0


@contextmanager
def attended(progress: Progress, interrupts: Interrupts, on_signal: Callable[[int], None]) -> Iterator[None]:
    """Draw the status and call `on_signal` with the signals that would end this process, within the running loop."""
    loop = asyncio.get_running_loop()
    with interrupts.led(on_signal):
        progress.open()
        if progress.pinned:
            loop.add_signal_handler(signal.SIGWINCH, progress.resize)
            loop.add_signal_handler(signal.SIGTSTP, _stop, progress)
            loop.call_later(_TICK, _tick, progress)
        try:
            yield
        finally:
            progress.close()


def _tick(progress: Progress) -> None:
    progress.draw()
    asyncio.get_running_loop().call_later(_TICK, _tick, progress)


def _stop(progress: Progress) -> None:
    """Stop as the terminal asks, with the terminal in order, and go on where it says so."""
    progress.close()
    os.kill(os.getpid(), signal.SIGSTOP)
    progress.open()

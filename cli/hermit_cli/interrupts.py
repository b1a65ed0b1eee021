"""Turns signals into an error where a run has something to clean up, so that it ends in order and says why."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from hermit_proxy.errors import ExitCode, HermitError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedRunError(HermitError):
    """Is raised wherever the program is when it is asked to end."""

    exit_code = ExitCode.FAILED


@contextlib.contextmanager
def raised() -> Iterator[Callable[[], None]]:
    """Have the signals that end a program raise InterruptedRunError; those that it was started to ignore do nothing.

    Give what sets this up again, for after an event loop that had the signals. At the end they are as before.
    """
    before = {number: signal.getsignal(number) for number in _ENDING}

    def again() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if handler is signal.SIG_IGN else _raise)

    again()
    try:
        yield again
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise InterruptedRunError(f"interrupted by {signal.Signals(number).name}", hint="run it again")

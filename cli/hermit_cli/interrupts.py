"""Turns signals into an error where a run has something to clean up, so that it ends in order and says why."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from hermit_proxy.errors import ExitCode, HermitError

if TYPE_CHECKING:  # a wrong command line should not pay for it
    import asyncio

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A terminal's as well, and a command's to obey; where there is none to pass it on to, it is left to the system.
_LED = (*_ENDING, signal.SIGQUIT)


class InterruptedRunError(HermitError):
    """Is raised wherever the program is when it is asked to end."""

    exit_code = ExitCode.FAILED


class Interrupts:
    """Has the signals that end a program. States: raising -> led -> held -> raising; in none of them is one lost.

    Raising: they raise InterruptedRunError. Led: an event loop's own function hears of them. Held: that loop comes to
    its end, where an error raised in its middle would be swallowed; `again` raises what came meanwhile. Those that the
    program was started to ignore, as nohup(1) has it, do nothing.
    """

    def __init__(self) -> None:
        """Take the signals; `close` gives them back."""
        self._before = {number: signal.getsignal(number) for number in _LED}
        self._heard: list[int] = []
        self._raises = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._take(_ENDING)

    @contextlib.contextmanager
    def led(self, on_signal: Callable[[int], None]) -> Iterator[None]:
        """Call `on_signal` with each, in the running loop, while the block runs; then hold them until `again`."""
        import asyncio  # noqa: PLC0415  see above

        self._loop = asyncio.get_running_loop()
        self._on_signal = on_signal
        self._raises = False
        self._take(_LED)
        try:
            yield
        finally:
            self._loop = None

    def again(self) -> None:
        """Raise from now on, also after somebody else had the signals; raise at once for one that was held."""
        self._raises = True
        self._give_back({signal.SIGQUIT})
        self._take(_ENDING)
        if self._heard:
            raise _interrupted(self._heard.pop())

    def close(self) -> None:
        """Have everything as it was before."""
        self._give_back(set(_LED))

    def _take(self, numbers: tuple[signal.Signals, ...]) -> None:
        for number in numbers:
            if self._before[number] is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def _give_back(self, numbers: set[signal.Signals]) -> None:
        for number in numbers:
            before = self._before[number]
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._raises:
            raise _interrupted(number)
        self._heard.append(number)
        if self._loop is not None:
            # As asyncio's own runner does it for SIGINT: a handler may run in the middle of any of the loop's work.
            self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        if self._loop is not None and self._heard:
            self._on_signal(self._heard.pop(0))


@contextlib.contextmanager
def raised() -> Iterator[Interrupts]:
    """Have the signals that end a program raise InterruptedRunError while the block runs."""
    interrupts = Interrupts()
    try:
        yield interrupts
    finally:
        interrupts.close()


def _interrupted(number: int) -> InterruptedRunError:
    return InterruptedRunError(f"interrupted by {signal.Signals(number).name}", hint="run it again")

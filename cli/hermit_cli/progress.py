"""Shows how a run is doing: one line pinned below the command's output on a terminal, otherwise only what matters."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Protocol

from hermit_cli.output import bytes_as_text, coloured, plain, ready, say_styled, time_as_text
from hermit_cli.table import counted

_LEAST_ROWS, _LEAST_COLUMNS = 5, 30
_SAVE, _RESTORE, _CLEAR = "\x1b7", "\x1b8", "\x1b[2K"


class Counted(Protocol):
    """Is what the proxy counts while it works."""

    @property
    def requests(self) -> int:
        """Count the requests."""
        ...

    @property
    def bytes(self) -> int:
        """Count the bytes of bodies that clients were sent."""
        ...

    @property
    def refused(self) -> int:
        """Count the refusals."""
        ...

    @property
    def failed(self) -> int:
        """Count the failures."""
        ...

    @property
    def last_refusal(self) -> str | None:
        """Tell the last refusal."""
        ...


class Progress:
    """Tells people what happens, without getting between the command and their terminal.

    On a terminal the last row is taken out of the scrolling (DECSTBM, as apt's progress bar does it) and holds the
    status. `open` -> `pause` <-> `resume` -> `close`; `close` gives the row back, and doing it twice is safe.
    Where stderr is no terminal nothing is written but refusals.
    """

    def __init__(self, mode: str, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the mode's name; `quiet` leaves refusals only."""
        self._mode = mode
        self._pinned = not quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._open = False
        self._clock = clock
        self._began = clock()
        self._counts: Counted | None = None
        self._told: str | None = None
        self._doing: str | None = None
        self._rows = 0

    @property
    def pinned(self) -> bool:
        """Tell whether there is a line to keep up to date."""
        return self._pinned

    def open(self) -> None:
        """Take the last row of the terminal."""
        size = shutil.get_terminal_size()
        if not self._pinned or size.lines < _LEAST_ROWS or size.columns < _LEAST_COLUMNS:
            return
        self._open, self._rows = True, size.lines
        # The newline makes room, the cursor goes back up, the region leaves out the last row and would move the cursor.
        self._write(f"\n{_SAVE}\x1b[1;{size.lines - 1}r{_RESTORE}\x1b[1A")
        self.draw()

    def close(self) -> None:
        """Give the row back to the terminal and leave it empty."""
        if self._open:
            self._open = False
            self._write(f"{_SAVE}\x1b[r\x1b[{self._rows};1H{_CLEAR}{_RESTORE}")

    def resize(self) -> None:
        """Follow the terminal's new size."""
        if self._pinned:
            self.close()
            self.open()

    def update(self, counts: Counted) -> None:
        """Take new counts; tell a new refusal at once."""
        self._counts = counts
        if counts.last_refusal and counts.last_refusal != self._told:
            self._told = counts.last_refusal
            say_styled(f"hermit: refused {counts.last_refusal}", "warn")
        self.draw()

    def begin(self, doing: str) -> None:
        """Say what is done from now on."""
        self._doing = doing
        self.draw()

    def draw(self) -> None:
        """Write the status into its row."""
        if self._open and ready(sys.stderr):
            columns = shutil.get_terminal_size().columns
            text = plain(self.status())[: columns - 1]
            styled = f"\x1b[7m{text:<{columns - 1}}\x1b[0m" if coloured(sys.stderr) else text
            self._write(f"{_SAVE}\x1b[{self._rows};1H{_CLEAR}{styled}{_RESTORE}")

    def status(self) -> str:
        """Give the status in one line: mode, elapsed time, what is done, requests, bytes, refusals."""
        parts = [f"hermit {self._mode}", time_as_text(self._clock() - self._began)]
        if self._doing:
            parts.append(self._doing)
        if (counts := self._counts) is not None:
            parts.append(counted(counts.requests, "request"))
            parts.append(bytes_as_text(counts.bytes))
            if counts.refused:
                parts.append(f"{counts.refused} refused")
            if counts.failed:
                parts.append(f"{counts.failed} failed")
        return " · ".join(parts)

    @staticmethod
    def _write(text: str) -> None:
        # One write(2): the command writes to the same terminal, and an escape sequence must not be cut.
        try:
            os.write(sys.stderr.fileno(), text.encode(errors="replace"))
        except OSError:  # the terminal is gone; the run is not
            return

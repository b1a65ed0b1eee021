"""Carries what steps print to terminal and log, from a thread of its own: a slow reader holds up the build alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import sys
import threading
from pathlib import Path

from hermit_cli.build.terminal import Cleaner, Indented
from hermit_cli.output import bytes_as_text, coloured
from hermit_proxy.errors import HermitError

_PIECE = 1 << 16
_LAST_LINES = 1 << 14
_PATIENCE = 2.0


class Printing:
    """Is the printing of one build. States: open -> closed; closing twice is safe.

    One pipe serves all steps, so that what a step leaves running may go on to write. `descriptor` is its writing end;
    `limit` counts the bytes that each step may print; what is more is dropped and counted.
    """

    def __init__(self, log: Path, *, limit: int, quiet: bool) -> None:
        """Open the log; `quiet` shows nothing and keeps the last lines for `last_lines`."""
        try:
            self._log = open(log, "w", encoding="utf-8")  # noqa: SIM115  closed by `close`
        except OSError as error:
            raise HermitError(f"cannot write {log}: {error.strerror}", hint="free the disk") from error
        self._reading, self.descriptor = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reading, False)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._limit = limit
        self._room = limit
        self._dropped = 0
        colours = coloured(sys.stderr)
        self._shown = None if quiet else Cleaner(colours=colours, rewrites=sys.stderr.isatty())
        self._margin = Indented(colours=colours)
        self._plain = Cleaner()
        self._ending = ""  # of what the log has
        self._lock = threading.Lock()
        self._drained: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._closing = False
        self._thread = threading.Thread(target=self._carry, name="printing", daemon=True)
        self._thread.start()

    @property
    def last_lines(self) -> str:
        """Give the end of what the step printed, at most 16 KiB of it."""
        return self._ending

    def note(self, line: str) -> None:
        """Put a line of Hermit's own into the log."""
        with self._lock:
            self._write_log(f"{line}\n")

    def begin_step(self, heading: str) -> None:
        """Count anew, and put the heading into the log."""
        with self._lock:
            self._write_log(f"{heading}\n")
            self._room, self._dropped, self._ending = self._limit, 0, ""

    async def end_step(self) -> int:
        """Wait until all that was printed is out, end an unfinished line, and give how many bytes were dropped."""
        drained = self._loop.create_future()
        with self._lock:
            self._drained.append(drained)
        os.eventfd_write(self._wake, 1)
        await drained
        return self._dropped

    def close(self) -> None:
        """End the thread; what is still in the pipe is carried first.

        Where nobody reads (a terminal that was stopped) it is left behind with what it holds: a build that is over
        has to be cleared up all the same.
        """
        if not self._open:
            return
        self._open = False
        self._closing = True
        os.eventfd_write(self._wake, 1)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            return
        for descriptor in (self._reading, self.descriptor, self._wake):
            os.close(descriptor)
        with contextlib.suppress(OSError):  # the disk is full: what is lost is a log
            self._log.close()

    def _carry(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._reading, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                selector.select()
                # Before reading: whoever asks has seen the step's end, so all that it printed is in the pipe now.
                with self._lock:
                    waiting, self._drained = self._drained, []
                    closing = self._closing
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
                # What runs on in the background may print for ever: a full pipe's worth is all that can be the step's.
                self._read(_PIECE * 2 if waiting or closing else _PIECE)
                if waiting or closing:
                    with self._lock:
                        shown = self._end_lines()
                    _show(shown)
                for future in waiting:
                    self._loop.call_soon_threadsafe(_resolve, future)
                if closing:
                    return

    def _read(self, most: int) -> None:
        while most > 0:
            try:
                octets = os.read(self._reading, min(most, _PIECE))
            except BlockingIOError:
                return
            most -= len(octets)
            with self._lock:
                shown = self._take(octets)
            _show(shown)

    def _take(self, octets: bytes) -> str:
        kept = octets[: self._room]
        self._room -= len(kept)
        if len(kept) < len(octets):
            self._dropped += len(octets) - len(kept)
        self._write_log(self._plain.feed(kept))
        return "" if self._shown is None else self._margin.feed(self._shown.feed(kept))

    def _end_lines(self) -> str:
        rest = self._plain.end()
        unfinished = "\n" if (self._ending + rest)[-1:] not in {"", "\n"} else ""
        dropped = f"hermit: {bytes_as_text(self._dropped)} more were dropped\n" if self._dropped else ""
        self._write_log(rest + unfinished + dropped)
        return "" if self._shown is None else self._margin.feed(self._shown.end()) + self._margin.end()

    def _write_log(self, text: str) -> None:
        self._ending = (self._ending + text)[-_LAST_LINES:]
        with contextlib.suppress(OSError):  # the disk is full: the build is not to blame, and may end
            self._log.write(text)
            self._log.flush()


def _show(text: str) -> None:
    """Write to the terminal, line by line: the pinned status is drawn by another thread, between two writes."""
    octets = memoryview(text.encode(errors="replace"))
    try:
        while octets:
            octets = octets[os.write(sys.stderr.fileno(), octets[:4096]) :]
    except OSError:  # the reader is gone; the build is not
        return


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

"""Joins a person's terminal with one that is made for the cell: the cell never holds theirs."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

_PIECE = 1 << 16
_STDIN, _STDOUT = 0, 1


@asynccontextmanager
async def attached() -> AsyncIterator[tuple[int | None, int]]:
    """Give the descriptors that a command gets as stdin and for its output, while what it says is shown on stdout.

    Where stdin is a terminal both are a terminal of the command's own, which takes every key; else stdin is as it is.
    """
    if sys.stdin.isatty():
        ours, theirs = pty.openpty()
        with _raw(), _resized(ours), _copied(_STDIN, ours):
            async with _shown(ours, theirs):
                yield theirs, theirs
    else:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        async with _shown(ours, theirs):
            yield _STDIN, theirs


@asynccontextmanager
async def _shown(ours: int, theirs: int) -> AsyncIterator[None]:
    """Copy what comes to stdout; at the end, take what is there, though something in the cell may hold on to it."""
    os.set_blocking(ours, False)
    try:
        with _copied(ours, _STDOUT):
            yield
            await asyncio.sleep(0)
        with contextlib.suppress(OSError):
            while data := os.read(ours, _PIECE):
                _write(_STDOUT, data)
    finally:
        os.close(ours)
        os.close(theirs)


@contextmanager
def _copied(source: int, target: int) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def copy() -> None:
        try:
            data = os.read(source, _PIECE)
        except BlockingIOError:
            return
        except OSError:  # the other end of a terminal is closed
            data = b""
        if not data:
            loop.remove_reader(source)
        _write(target, data)

    loop.add_reader(source, copy)
    try:
        yield
    finally:
        loop.remove_reader(source)


def _write(target: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # the reader is gone; the command ends when it wants
        while data:
            try:
                data = data[os.write(target, data) :]
            except BlockingIOError:  # a terminal that nobody reads in the cell: what is typed ahead is lost
                return


@contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


@contextmanager
def _resized(terminal: int) -> Iterator[None]:
    def resize() -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, fcntl.ioctl(_STDIN, termios.TIOCGWINSZ, b"\0" * 8))

    loop = asyncio.get_running_loop()
    resize()
    loop.add_signal_handler(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)

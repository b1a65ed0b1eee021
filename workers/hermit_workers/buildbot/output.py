"""Carries what a step prints to whoever keeps it, in few large pieces, and drops what is more than a limit."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable

Give = Callable[[bytes], Awaitable[object]]

_PIPE = 1 << 20  # what anybody may ask of the kernel (pipe(7)): it fills while a piece is being kept
_PIECE = 1 << 20
_PAUSE = 0.2  # seconds between pieces: each is a row of the master's database
_MOST_LINES = 1_000_000


class Output:
    """Is the pipe that a step prints into.

    States: open -> ended -> closed. `give` gets the pieces one after the other; while it works the step waits once the
    pipe is full.
    """

    def __init__(self, limit: int, give: Give) -> None:
        """Make the pipe; no more than `limit` bytes are given, nor a million lines."""
        self._reading, self.descriptor = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.descriptor, True)
        with contextlib.suppress(OSError):  # an ordinary user has so much for pipes and no more
            fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, _PIPE)
        self.dropped = 0
        self._room = limit
        self._lines = _MOST_LINES
        self._give = give
        self._failure: Exception | None = None
        self._ended = asyncio.Event()
        self._carrying = asyncio.ensure_future(self._carry())

    async def end(self) -> None:
        """Give all that was printed so far: what the step leaves running may print for ever.

        Raise what `give` raised; nothing was given after that.
        """
        self._ended.set()
        await self._carrying
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Let go of the pipe, whatever is in it; closing twice is safe."""
        self._carrying.cancel()
        await asyncio.gather(self._carrying, return_exceptions=True)
        for descriptor in (self._reading, self.descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._reading = self.descriptor = -1

    async def _carry(self) -> None:
        while not self._ended.is_set():
            await self._readable()
            await self._pass_on()
            await self._pause()
        # Whoever ended it has seen the step's end: all that it printed is in the pipe, which is one piece's worth.
        await self._pass_on()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        found = asyncio.Event()
        loop.add_reader(self._reading, found.set)
        waiting = [asyncio.ensure_future(found.wait()), asyncio.ensure_future(self._ended.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(self._reading)
            for task in waiting:
                task.cancel()

    async def _pause(self) -> None:
        waiting = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait([waiting], timeout=_PAUSE)
        waiting.cancel()

    async def _pass_on(self) -> None:
        kept = self._within(_read(self._reading))
        if not kept or self._failure is not None:
            return
        try:
            await self._give(kept)
        except Exception as error:  # noqa: BLE001  whatever it is: a step that nobody reads would wait for ever
            self._failure = error

    def _within(self, octets: bytes) -> bytes:
        kept = octets[: self._room]
        if (lines := kept.count(b"\n")) > self._lines:
            kept = b"".join(line + b"\n" for line in kept.split(b"\n", self._lines)[: self._lines])
            lines = self._lines
        self._lines -= lines
        # Once something is dropped all the rest is: a log with holes in it says things that were never said.
        self._room = self._room - len(kept) if len(kept) == len(octets) else 0
        self.dropped += len(octets) - len(kept)
        return kept


def _read(descriptor: int) -> bytes:
    octets = bytearray()
    while len(octets) < _PIECE:
        try:
            more = os.read(descriptor, _PIECE - len(octets))
        except BlockingIOError:
            break
        if not more:
            break
        octets += more
    return bytes(octets)

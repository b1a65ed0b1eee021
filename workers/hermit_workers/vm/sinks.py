"""Takes what a VM's commands print: for a reader, for a message, or nowhere."""

from __future__ import annotations

import asyncio
import os
import select

_ATOMIC = select.PIPE_BUF  # what a pipe that can be written to takes without waiting


class Descriptor:
    """Passes on to a descriptor: a slow reader holds up the VM, as it holds up a process.

    Once the command has ended nobody may read there any more, so what finds no room then is dropped.
    """

    def __init__(self, output: int) -> None:
        """Take a copy of a descriptor, which may be anything that is written to."""
        self._output = os.dup(output)
        self._waiting: asyncio.Future[None] | None = None
        self._hurried = False
        self._asked = select.poll()
        self._asked.register(self._output, select.POLLOUT)

    async def write(self, data: bytes, *, ended: bool) -> None:
        """Write it, piece by piece; whoever has closed the other end gets nothing."""
        rest = memoryview(data)
        while rest and self._output >= 0:
            if not self._ready():
                if ended or self._hurried:
                    return
                await self._room()
                continue
            try:
                rest = rest[os.write(self._output, rest[:_ATOMIC]) :]
            except BlockingIOError:
                if ended or self._hurried:
                    return
            except OSError:
                self.close()

    def hurry(self) -> None:
        """Wait for no reader any more, as if the command had ended."""
        self._hurried = True
        if self._waiting is not None:
            _set(self._waiting)

    def close(self) -> None:
        """Close the copy; a write that waits ends, and its number is nobody's before somebody else gets it."""
        if self._output >= 0:
            if self._waiting is not None:
                self._waiting.get_loop().remove_writer(self._output)
                _set(self._waiting)
            os.close(self._output)
            self._output = -1

    def _ready(self) -> bool:
        # An end that was closed is ready as well: writing then says so.
        return bool(self._asked.poll(0))

    async def _room(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_writer(self._output, _set, self._waiting)  # never a plain file, which is always ready
        try:
            await self._waiting
        finally:
            if self._output >= 0:
                loop.remove_writer(self._output)
            self._waiting = None


class Text:
    """Keeps the first `most` bytes and drops the rest; `count` is of all that came."""

    def __init__(self, most: int) -> None:
        """Begin with nothing."""
        self.most = most
        self._data = bytearray()
        self.count = 0

    async def write(self, data: bytes, *, ended: bool) -> None:  # noqa: ARG002  a Sink is told
        """Keep what there is room for."""
        self.count += len(data)
        self._data += data[: self.most - len(self._data)]

    def hurry(self) -> None:
        """Do nothing: nobody is waited for."""

    def close(self) -> None:
        """Do nothing: what was kept stays."""

    @property
    def too_much(self) -> bool:
        """Tell whether more came than is kept."""
        return self.count > self.most

    @property
    def text(self) -> str:
        """Give what was kept."""
        return self._data.decode(errors="replace")

    @property
    def data(self) -> bytes:
        """Give what was kept, as it came."""
        return bytes(self._data)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

"""Runs bubblewrap in a holder: one init that keeps the cell's pid namespace, and one command after another in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from hermit_workers import seccomp
from hermit_workers.cell import CellError
from hermit_workers.sandbox import bwrap
from hermit_workers.sandbox.namespaces.holder import Child, Holder
from hermit_workers.sandbox.namespaces.memfile import memory

_WORDS = 65536  # what is kept of bubblewrap's own complaints
_SIGNALLED = 128


class Reader:
    """Is the reading end of a pipe whose other end somebody in the holder has; what it says is text."""

    def __init__(self) -> None:
        """Make the pipe; needs a running loop."""
        self._descriptor, self.other = os.pipe()
        os.set_blocking(self._descriptor, False)
        self._data = b""
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._loop.add_reader(self._descriptor, self._on_readable)
        self.over = False

    async def more(self) -> None:
        """Wait until something came, or the end."""
        if not self.over:
            self._waiting.append(future := self._loop.create_future())
            await future

    def text(self) -> str:
        """Give what came, as far as it is kept."""
        return self._data.decode(errors="replace")

    def handed_over(self) -> None:
        """Close this process's copy of the writing end."""
        if self.other >= 0:
            os.close(self.other)
            self.other = -1

    def close(self) -> None:
        """Close both ends; doing it twice is safe."""
        self.handed_over()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._end()

    def _on_readable(self) -> None:
        data = os.read(self._descriptor, _WORDS)
        self._data = (self._data + data)[:_WORDS]
        if not data:
            self._loop.remove_reader(self._descriptor)
            self._end()
        self._wake()

    def _end(self) -> None:
        self.over = True
        self._wake()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()


@dataclass(frozen=True, slots=True)
class Running:
    """Is one bubblewrap and the pipe on which it tells its child's number and how that ended."""

    child: Child
    status: Reader

    async def command(self) -> int | None:
        """Give the number of what runs inside, as the holder counts; None where it came to nothing."""
        while (number := self._field("child-pid")) is None and not self.status.over:
            await self.status.more()
        return number

    async def ended(self) -> int | None:
        """Wait for the end and give the command's status; None where bubblewrap never got to start it."""
        try:
            status = await self.child.wait()
            while not self.status.over:
                await self.status.more()
            # Without a code for a command that began, bubblewrap was killed from outside: the step is over, and failed.
            killed = status > _SIGNALLED and self._field("child-pid") is not None
            return status if killed or self._field("exit-code") is not None else None
        finally:
            self.status.close()

    def _field(self, name: str) -> int | None:
        for line in self.status.text().splitlines():
            with contextlib.suppress(ValueError):  # half a line
                if name in (said := json.loads(line)):
                    return int(said[name])
        return None


async def start(
    holder: Holder,
    options: Sequence[str],
    argv: Sequence[str],
    descriptors: dict[int, int],
    *,
    terminal: bool = False,
) -> Running:
    """Start bubblewrap with the filter, its options and `descriptors` (its numbers for ours)."""
    status = Reader()
    try:
        with memory(seccomp.program()) as rules, memory(bwrap.packed(options)) as words:
            given = {bwrap.SECCOMP: rules, bwrap.OPTIONS: words, bwrap.STATUS: status.other, **descriptors}
            command = [_program(), "--args", str(bwrap.OPTIONS), "--", *argv]
            # Without any environment: the init keeps it for the cell's root to read.
            child = await holder.spawn(command, environment={}, descriptors=given, terminal=terminal)
    except BaseException:
        status.close()
        raise
    status.handed_over()
    return Running(child, status)


def _program() -> str:
    program = shutil.which("bwrap")
    if program is None:
        raise CellError("bubblewrap is not installed", hint="sudo apt-get install bubblewrap")
    return program


class Init:
    """Is the first process of a cell's pid namespace; what a step leaves running lives as long as it.

    States: made -> running (`running` tells its namespace) -> gone; then `running` makes a new one.
    """

    def __init__(self, holder: Holder, seen: bwrap.View) -> None:
        """Take where to run and what it sees."""
        self._holder = holder
        self._seen = seen
        self._now: Running | None = None
        self._namespace = -1

    async def running(self) -> int:
        """Give the pid namespace, of a new init where the build has killed the last one; raise CellError."""
        if self._now is None or self._now.child.over:
            self.close()
            await self._start()
        return self._namespace

    async def gone(self, seconds: float) -> bool:
        """Tell whether it has gone, after a moment in which its end may still be told."""
        if self._now is None:
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._now.child.wait(), seconds)
        return self._now.child.over

    @property
    def namespace(self) -> int:
        """Give the pid namespace as a descriptor; while there is none, any number that is no descriptor."""
        return self._namespace

    def close(self) -> None:
        """Let go of it; doing it twice is safe."""
        if self._now is not None:
            self._now.status.close()
            self._now = None
            os.close(self._namespace)
            self._namespace = -1

    async def _start(self) -> None:
        words = Reader()
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            # What it says goes to a pipe that nobody keeps: the cell's root could open what its init has open.
            where = {0: nothing, 1: words.other, 2: words.other}
            now = await start(self._holder, bwrap.init_options(self._seen), bwrap.init_argv(), where)
            words.handed_over()
            number = await now.command()
            if number is None:
                now.status.close()
                await now.child.wait()  # raises where it was the holder that has gone
                while not words.over:
                    await words.more()
                raise CellError(f"bubblewrap makes no cell: {words.text().strip()}", hint="hermit doctor")
            self._namespace = await self._holder.namespace(number)
            self._now = now
        finally:
            os.close(nothing)
            words.close()

"""Runs programs on an image that is being made, behind the cells' filter and within limits, and tells their lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hermit_proxy.errors import ExitCode
from hermit_workers.cell import CellError, Limits
from hermit_workers.image.counting import CountingHolder, Namespace
from hermit_workers.image.errors import ImageError
from hermit_workers.sandbox import steps
from hermit_workers.sandbox.limits.guard import Guard
from hermit_workers.sandbox.limits.rlimits import rlimits

# What each program may use that is run for an image: as a build may, and apt waits for ever where the disk is full.
LIMITS = Limits(seconds=2 * 3600.0)
# What a file system in memory takes at most: without a control group nobody else counts it.
ROOM = str(LIMITS.memory // 4)
# As in sandbox.cell: the holder, what counts and the bubblewraps.
_OWN_PROCESSES = 16
_KEPT = 12
_LONGEST = 1 << 16


class LimitError(ImageError):
    """Is raised where a limit ended a program: that is the doing of the recipe, its packages or its commands."""

    exit_code = ExitCode.FAILED


class Runner:
    """Runs bubblewraps around an image's folder until a limit ends all of them; `holder` is what holds them."""

    def __init__(self, holder: CountingHolder, guard: Guard, folder: Path, over: asyncio.Future[str]) -> None:
        """Take the parts; `over` gets the sentence of the limit that was reached."""
        self.holder = holder
        self._guard = guard
        self._folder = folder
        self._over = over
        self._namespace = Namespace()
        self._watched = False

    async def run(
        self,
        options: Sequence[str],
        argv: Sequence[str],
        on_line: Callable[[str], None],
        *,
        stdin: int | None = None,
        until: asyncio.Future[Any] | None = None,
    ) -> tuple[int, list[str]]:
        """Run a program in bubblewrap to its end; give its status and its last lines.

        The options read the filter and tell of its start as bwrap.init_options do. No descriptor for stdin means an
        empty one. Raises LimitError where it takes too much. Then, and where `until` is done first, the holder's end
        is the program's; the status is -1 for the latter. Raises CellError where bubblewrap does not come to start it:
        that is this machine's doing, and no status of the program's.
        """
        try:
            ended = await self._run(options, argv, on_line, stdin, until)
        except CellError:
            await self._check()  # the kernel ends what needs too much memory as a whole, the holder first
            raise
        await self._check()
        return ended

    async def _run(
        self,
        options: Sequence[str],
        argv: Sequence[str],
        on_line: Callable[[str], None],
        stdin: int | None,
        until: asyncio.Future[Any] | None,
    ) -> tuple[int, list[str]]:
        read, write = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            given = {0: nothing if stdin is None else stdin, 1: write, 2: write}
            running = await steps.start(self.holder, options, argv, given)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(nothing)
            os.close(write)
        reading = asyncio.create_task(_read(read, on_line))
        try:
            await self._watch(running)
            waiting: set[asyncio.Future[Any]] = {reading, self._over, *([] if until is None else [until])}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return -1, []
            said = reading.result()
            if (status := await running.ended()) is None:
                told = f" (it said: {' '.join(said)})" if said else ""
                raise CellError(f"bubblewrap does not start {argv[0]}{told}", hint="hermit doctor")
            return status, said
        finally:
            running.status.close()
            reading.cancel()

    async def _watch(self, running: steps.Running) -> None:
        number = await running.command()
        with contextlib.suppress(CellError):  # has ended already
            if number is not None:
                self._namespace.take(await self.holder.namespace(number))
        if not self._watched:
            self._watched = True
            await self._guard.watch(self.holder, self._folder, self._namespace.now)

    async def _check(self) -> None:
        await self._guard.check()
        if self._over.done():
            # What is said of a setting is for builds; here there is none.
            said = self._over.result().partition(" (limits: ")[0]
            raise LimitError(f"the image reached a limit. {said}", hint="docs/images.md, Limits")

    def close(self) -> None:
        """Let go of what was opened."""
        self._namespace.close()


@asynccontextmanager
async def runner(folder: Path, limits: Limits = LIMITS) -> AsyncIterator[Runner]:
    """Give what runs programs around a folder with a tree `root`; whatever they leave running ends with it."""
    over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    guard = Guard(limits, lambda said: None if over.done() else over.set_result(said))
    try:
        numbers = rlimits(replace(limits, processes=limits.processes + _OWN_PROCESSES))
        holder = await CountingHolder.open(tree=folder, limits=numbers, admit=guard.admit)
        running = Runner(holder, guard, folder, over)
        try:
            yield running
        finally:
            try:
                await guard.stop()
            finally:
                running.close()
                await holder.close()
    finally:
        guard.remove()


async def _read(descriptor: int, on_line: Callable[[str], None]) -> list[str]:
    last: deque[str] = deque(maxlen=_KEPT)
    stream = asyncio.StreamReader(limit=_LONGEST)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb")
    )
    try:
        while line := await _line(stream):
            last.append(line.decode(errors="replace").rstrip())
            on_line(last[-1])
    finally:
        transport.close()
    return list(last)


async def _line(stream: asyncio.StreamReader) -> bytes:
    """Read a line, or a piece of one that is too long."""
    try:
        return await stream.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)

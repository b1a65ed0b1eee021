"""Is the sandbox cell: one build in namespaces of its own, over an image that it cannot change."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from hermit_workers.cell import CellError, Command, Ended, Limits, Taken
from hermit_workers.cellfiles import UNPACK, check_unpacked
from hermit_workers.leaving import leave_all
from hermit_workers.sandbox import bwrap, steps
from hermit_workers.sandbox.artifacts import receiving
from hermit_workers.sandbox.limits.guard import Guard
from hermit_workers.sandbox.limits.rlimits import rlimits, size
from hermit_workers.sandbox.namespaces import mapped
from hermit_workers.sandbox.namespaces.holder import ROOT, SHARED, Holder, Layered

_KILLED = 128 + 9
_TOO_LARGE = 128 + signal.SIGXFSZ  # what the kernel sends to who writes beyond RLIMIT_FSIZE
# The holder, what counts, and the bubblewraps: the kernel counts them as well, and the watchdog, who ends a build that
# reaches its limit, does not.
_OWN_PROCESSES = 16
_SETTLED = 1.0  # seconds for the news of a killed init


class SandboxCell:
    """Is a cell.Cell in bubblewrap.

    States: made -> started -> stopped -> destroyed; exceeding a limit leads to stopped, and what then runs comes back
    with the reason. A `folder` that an earlier cell was told to keep is gone on with; else it is made.
    """

    def __init__(self, image: Path, folder: Path, limits: Limits) -> None:
        """Take the image's root, which is not changed, and the folder for what the build writes."""
        self._folder = folder
        self._tree = Layered(image, folder, shared=limits.memory // 4)
        self._limits = limits
        self._view = bwrap.view(ROOT, SHARED)
        self._guard: Guard | None = None
        self._holder: Holder | None = None
        self._init: steps.Init | None = None
        self._command: int | None = None
        self._exceeded: str | None = None
        self._ending: asyncio.Task[None] | None = None
        self._stopped = False
        self._kept = False

    async def start(self) -> socket.socket:
        """Make the cell and give the listening socket that is its only wire; raise CellError."""
        self._guard = guard = Guard(self._limits, self._on_exceeded)
        limits = rlimits(replace(self._limits, processes=self._limits.processes + _OWN_PROCESSES))
        self._holder = holder = await Holder.open(tree=self._tree, limits=limits, admit=guard.admit)
        self._init = init = steps.Init(holder, self._view)
        await init.running()
        await guard.watch(holder, self._folder, lambda: init.namespace)
        return holder.listener

    async def put(self, archive: int) -> None:
        """Unpack a tar at the cell's root with its owners; raise CellError where it is none, LimitError for too much.

        The cell's own tar does it, inside: whatever links the build has made lead nowhere else.
        """
        words = steps.Reader()
        try:
            ended = await self.run(UNPACK, stdin=archive, output=words.other)
            words.handed_over()
            while not words.over:
                await words.more()
        finally:
            words.close()
        check_unpacked(ended, words.text())

    async def run(self, command: Command, *, stdin: int | None = None, output: int) -> Ended:
        """Run a command to its end; raise CellError where it could not be started.

        What it leaves running keeps `output` open: who reads it does not wait for its end. A terminal as stdin (one
        that was made for this command, and nobody's) becomes its controlling terminal.
        """
        status = None
        try:
            if self._exceeded is None:
                status = await self._run(command, stdin, output)
        except CellError:
            # The kernel ends a cell that needs too much memory as a whole, the holder first: then that is the reason.
            await self._check()
            if self._exceeded is None:
                raise
        await self._check()
        if status == _TOO_LARGE and self._exceeded is None:
            self._exceeded = (
                f"disk: SIGXFSZ, which one file of more than {size(self._limits.disk)} brings (limits: disk)"
            )
        if self._exceeded is not None:
            await self.stop()
        elif status is None and not self._stopped:
            raise CellError(f"bubblewrap does not start {command.argv[0]} (see its output)", hint="hermit doctor")
        return Ended(_KILLED if status is None else status, self._exceeded)

    async def _check(self) -> None:
        if self._guard is not None:
            await self._guard.check()

    async def _run(self, command: Command, stdin: int | None, output: int) -> int | None:
        with contextlib.ExitStack() as stack:
            if stdin is None:
                stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, stdin)
            status = None
            for _ in range(2):  # what an earlier step left may kill the init at the wrong moment
                status = await self._once(command, stdin, output)
                if status is not None or self._stopped or not await self._alive()[1].gone(_SETTLED):
                    break
            return status

    async def _once(self, command: Command, stdin: int, output: int) -> int | None:
        """Give the command's status, None where it never ran or was ended with everything."""
        holder, init = self._alive()
        terminal = os.isatty(stdin)
        options = bwrap.step_options(self._view, command, terminal=terminal)
        argv = bwrap.step_argv(command.argv, command.user, terminal=terminal)
        given = {0: stdin, 1: output, 2: output, bwrap.PID_NAMESPACE: await init.running()}
        running = await steps.start(holder, options, argv, given, terminal=terminal)
        try:
            self._command = await running.command()
            return await running.ended()
        finally:
            self._command = None
            running.status.close()

    async def interrupt(self, number: int) -> None:
        """Send a signal to the command that runs, if one does."""
        if self._command is not None and self._holder is not None:
            await self._holder.signal(self._command, number)

    async def stop(self) -> None:
        """End every process of the cell; its files stay."""
        self._stopped = True
        try:
            await self._unwatched()
        finally:
            if self._holder is not None:
                with contextlib.suppress(CellError):  # has gone, and everything with it
                    await self._holder.end()

    async def take(self, folder: PurePosixPath, patterns: Sequence[str]) -> list[Taken]:
        """Give the files of a stopped cell that match; raise ArtifactError for what is no plain file or too much."""
        if self._holder is None or not self._stopped:
            raise CellError("artifacts are taken from a stopped cell")
        return await receiving.receive(self._holder, folder, patterns, most=self._limits.artifacts)

    async def keep(self) -> None:
        """Let the cell's files outlive it: another SandboxCell with the same image and folder goes on with them."""
        if self._holder is None:
            raise CellError("there is no cell to keep")
        try:
            await self._holder.keep()
        except CellError:
            # A limit may have ended the holder with the rest; one that was killed has removed nothing.
            if not self._tree.upper.is_dir():
                raise
        self._kept = True

    async def destroy(self) -> None:
        """Leave nothing: no process, no mount, and no file unless they are kept.

        What fails keeps nothing else from being done; the first error is raised at the end.
        """
        self._stopped = True
        await leave_all(self._ended, self._unwatched, self._let_go, self._closed, self._ungrouped, self._removed)

    async def _ended(self) -> None:
        if self._ending is not None:
            await asyncio.gather(self._ending, return_exceptions=True)

    async def _unwatched(self) -> None:
        if self._guard is not None:
            await self._guard.stop()

    async def _let_go(self) -> None:
        if self._init is not None:
            self._init.close()

    async def _closed(self) -> None:
        if self._holder is not None:
            await self._holder.close()

    async def _ungrouped(self) -> None:
        if self._guard is not None:
            self._guard.remove()

    async def _removed(self) -> None:
        if not self._kept and self._holder is not None:
            await mapped.remove_tree(self._folder)

    def _on_exceeded(self, sentence: str) -> None:
        if self._exceeded is None:
            self._exceeded = sentence
            self._stopped = True
            self._ending = asyncio.get_running_loop().create_task(self.stop())

    def _alive(self) -> tuple[Holder, steps.Init]:
        if self._holder is None or self._init is None or self._stopped:
            raise CellError("the cell is not running")
        return self._holder, self._init

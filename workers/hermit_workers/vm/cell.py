"""Is the VM cell: one build in a machine of its own, over an image that it cannot change."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import PurePosixPath

from hermit_workers.cell import CellError, Command, Ended, Limits, Taken
from hermit_workers.cellfiles import UNPACK, check_unpacked
from hermit_workers.leaving import leave_all
from hermit_workers.sandbox.limits.rlimits import size
from hermit_workers.vm import taking
from hermit_workers.vm.agent import Agent, Sink
from hermit_workers.vm.argv import step_argv
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.machine import PLACE, Machine, thd_sweep
from hermit_workers.vm.parts import Places, Shape, describe, make_files
from hermit_workers.vm.sinks import Descriptor, Text

__all__ = ["Places", "Shape", "VmCell"]

_KILLED = 128 + 9
_BOOT_SECONDS, _CLEAR_SECONDS, _LEASE_SECONDS = 180.0, 20.0, 20.0
_SETTLED = 2.0
_WORDS = 1 << 16


class VmCell:
    """Is a cell.Cell in a virtual machine.

    States: made (-> booted -> leased) -> started -> stopped -> destroyed; the end of the machine leads to stopped from
    everywhere, and what then runs raises CellError with the machine's last words.
    """

    def __init__(self, image: Bootable, limits: Limits, shape: Shape, places: Places) -> None:
        """Take what boots, what the build may use of the machine, and where its files are."""
        self._image = image
        self._folder = places.folder
        self._limits = limits
        self._shape = shape
        self._cache = places.cache
        self._place = places.sockets / f"{PLACE}{secrets.token_hex(4)}"
        self._machine: Machine | None = None
        self._agent: Agent | None = None
        self._busy = False
        self._exceeded: str | None = None
        self._disobeyed: CellError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._made = self._started = self._stopped = False

    async def start(self) -> socket.socket:
        """Boot the machine and give the listening socket that is its only wire but the agent's; raise CellError."""
        if self._started:
            raise CellError("a cell is started once")
        self._started = True
        if not self._made:
            await self.boot()
        machine = self._machine
        if machine is None or self._agent is None or self._agent.gone:
            told = ""
            if machine is not None:
                machine.proxy.close()
                told = machine.told()
            raise CellError(f"the VM has ended before its build began{told}", hint="hermit doctor")
        self._tasks.append(asyncio.create_task(self._until_late()))
        return machine.proxy

    async def boot(self) -> None:
        """Boot the machine, which then waits for its build; raise CellError."""
        await asyncio.to_thread(thd_sweep, self._place.parent)
        self._made = True
        await make_files(self._folder, self._limits)
        domain = describe(self._place / "image", self._place / "files", self._limits, self._shape)
        binds = {"files": self._folder, "image": self._image.folder}
        self._machine = machine = await Machine.start(domain, self._place, self._folder, binds, self._cache)
        try:
            with machine.agent:
                channel = await self._first(machine)
            self._agent = Agent(channel, self._on_exceeded)
            await self._agent.greeting(_BOOT_SECONDS)
        except CellError as error:
            machine.proxy.close()
            raise await self._why(error) from error
        except BaseException:
            machine.proxy.close()
            raise
        self._tasks.append(asyncio.create_task(self._until_over(machine, self._agent)))

    async def lease(self, limits: Limits, clock: int) -> None:
        """Give a machine that has booted its build: its limits, and its first moment; raise CellError.

        What the machine itself is bound by must be what it was booted with.
        """
        mine = self._limits
        if (limits.memory, limits.disk, limits.processes) != (mine.memory, mine.disk, mine.processes):
            raise CellError("a VM that has booted has the memory, disk and processes that it has")
        self._limits = limits
        await self._alive().lease(clock, _LEASE_SECONDS)

    @property
    def over(self) -> asyncio.Task[None] | None:
        """Give what is done as soon as the machine has ended; None before it has begun."""
        return self._machine.over if self._machine is not None else None

    async def put(self, archive: int) -> None:
        """Unpack a tar at the cell's root with its owners; raise CellError where it is none, LimitError for too much.

        The guest's own tar does it, inside: whatever links the build has made lead nowhere else.
        """
        words = Text(_WORDS)
        ended = await self._ended(UNPACK, words, archive)
        check_unpacked(ended, words.text)

    async def run(self, command: Command, *, stdin: int | None = None, output: int) -> Ended:
        """Run a command to its end; raise CellError where it could not be started, or the machine has ended."""
        if stdin is not None and os.isatty(stdin):
            raise CellError("a VM gives no terminal yet", hint="hermit shell gives one, in a sandbox")
        return await self._ended(command, Descriptor(output), stdin)

    async def _ended(self, command: Command, sink: Sink, stdin: int | None) -> Ended:
        if self._exceeded is not None:
            sink.close()
            return Ended(_KILLED, self._exceeded)
        status = _KILLED
        try:
            agent = self._alive()
        except CellError:
            sink.close()
            raise
        self._busy = True
        try:
            argv = step_argv(command.argv, command.user, self._limits)
            status = await agent.run(command, argv, sink, stdin=stdin)
        except CellError as error:
            if not self._stopped:
                why = await self._why(error)
                if self._exceeded is None:
                    raise why from error
        finally:
            self._busy = False
        return Ended(status, self._exceeded)

    async def interrupt(self, number: int) -> None:
        """Send a signal to the command that runs, if one does."""
        if self._agent is not None and self._busy:
            with contextlib.suppress(CellError):
                await self._agent.signal(self._agent.newest, number)

    async def stop(self) -> None:
        """End every process of the build; its files stay. A machine that does not obey ends as a whole."""
        if self._stopped:
            return
        self._stopped = True
        if self._agent is None:
            return
        try:
            await self._agent.clear(_CLEAR_SECONDS)
        except CellError as error:
            self._disobeyed = await self._why(error)
            await self._agent.close()
            if self._machine is not None:
                await self._machine.stop()

    async def take(self, folder: PurePosixPath, patterns: Sequence[str]) -> list[Taken]:
        """Give the files of a stopped cell that match; raise ArtifactError for what is no plain file or too much."""
        if self._agent is None or not self._stopped:
            raise CellError("artifacts are taken from a stopped cell")
        if self._disobeyed is not None:
            raise self._disobeyed
        most = self._limits.artifacts
        try:
            return await taking.take(self._agent, folder, patterns, most=most, room=self._folder)
        except CellError as error:
            raise await self._why(error) from error

    async def destroy(self) -> None:
        """Leave nothing: no process, no machine, no wire, no file. What fails keeps nothing else from being done."""
        self._stopped = True
        # The machine first: where its agent has lost its wire its kernel panics, and says so at length.
        await leave_all(self._forget, self._switch_off, self._hang_up, self._remove)

    async def _forget(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hang_up(self) -> None:
        if self._agent is not None:
            await self._agent.close()

    async def _switch_off(self) -> None:
        if self._machine is not None:
            await self._machine.stop()
            if not self._started:  # nobody else has it
                self._machine.proxy.close()

    async def _remove(self) -> None:
        if self._made:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _first(self, machine: Machine) -> socket.socket:
        """Wait for the agent: it is there before anything of the build, and nobody after it is heard."""
        accepting = asyncio.ensure_future(asyncio.get_running_loop().sock_accept(machine.agent))
        try:
            waiting = {accepting} if machine.over is None else {accepting, machine.over}
            await asyncio.wait(waiting, timeout=_BOOT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if accepting.done():
                return accepting.result()[0]
            how = "ended" if machine.over is not None and machine.over.done() else f"is not up in {_BOOT_SECONDS:.0f} s"
            raise CellError(f"the VM {how}{machine.told()}", hint=machine.hint)
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)

    async def _until_over(self, machine: Machine, agent: Agent) -> None:
        if machine.over is not None:
            await asyncio.wait([machine.over])
            # Whoever was at the other end of the wire is no more, and sends no farewell.
            await agent.close()

    async def _until_late(self) -> None:
        await asyncio.sleep(self._limits.seconds)
        self._exceeded = self._exceeded or f"time: not done after {self._limits.seconds:g} s (limits: time)"
        await self.stop()

    def _on_exceeded(self, limit: str) -> None:
        """Have the build end as one in a sandbox does, where the guest's kernel has refused or killed something."""
        if self._exceeded is None and not self._stopped:
            most = f"needs more than {size(self._limits.memory)}"
            wants = most if limit == "memory" else f"wants more than {self._limits.processes}"
            self._exceeded = f"{limit}: the build {wants} (limits: {limit})"
            self._tasks.append(asyncio.create_task(self.stop()))

    def _alive(self) -> Agent:
        if self._agent is None or self._stopped:
            raise CellError("the cell is not running")
        return self._agent

    async def _why(self, error: CellError) -> CellError:
        """Give the error, with the machine's last words where it has ended."""
        machine, agent = self._machine, self._agent
        if machine is None or machine.over is None or agent is None or not agent.gone:
            return error
        # Its wire and its end are told by two, in no order.
        await asyncio.wait([machine.over], timeout=_SETTLED)
        if not machine.over.done():
            return error
        self._exceeded = self._exceeded or machine.exceeded
        return CellError(f"the VM has ended in the middle of a build{machine.told()}", hint=machine.hint)

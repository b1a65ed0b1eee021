"""Is the VM cell: one build in a machine of its own, over an image that it cannot change."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_workers.cell import CellError, Command, Ended, Limits, Taken
from hermit_workers.cellfiles import UNPACK, CellFile, as_tar, check_unpacked
from hermit_workers.leaving import leave_all
from hermit_workers.vm import taking
from hermit_workers.vm.agent import Agent, Sink
from hermit_workers.vm.argv import step_argv
from hermit_workers.vm.boot import IMAGE, INITRD, KERNEL, Bootable
from hermit_workers.vm.domain import Disk, Domain, Kind
from hermit_workers.vm.guest import disks
from hermit_workers.vm.layout import qemu_ids
from hermit_workers.vm.machine import PLACE, Machine, thd_sweep
from hermit_workers.vm.sinks import Descriptor, Text

_GUEST = Path(__file__).parent / "guest"
_AGENT = PurePosixPath("/run/hermit-agent")
_NAME = "hermit-build"
_MIB = 1 << 20
_KILLED = 128 + 9
_BOOT_SECONDS, _CLEAR_SECONDS = 180.0, 20.0
_SETTLED = 2.0
_WORDS = 1 << 16
_HIDDEN = 0o711  # QEMU passes through and sees no names


@dataclass(frozen=True, slots=True)
class Shape:
    """Is what of a VM is not the image's and not the build's: its kind, processors, and first moment (epoch)."""

    kind: Kind
    processors: int
    clock: int


@dataclass(frozen=True, slots=True)
class Places:
    """Is where a VM's files are.

    `folder` is for what the build writes; it is made, and goes with the cell. `cache` is where libvirt keeps what it
    knows of QEMU. `sockets` is a folder with a short path (107 bytes are all that a socket has) that QEMU's user may
    pass through.
    """

    folder: Path
    cache: Path
    sockets: Path


class VmCell:
    """Is a cell.Cell in a virtual machine.

    States: made -> started -> stopped -> destroyed; the end of the machine leads to stopped from everywhere, and what
    then runs raises CellError with the machine's last words.
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
        self._tasks: list[asyncio.Task[None]] = []
        self._made = self._stopped = False

    async def start(self) -> socket.socket:
        """Boot the machine and give the listening socket that is its only wire but the agent's; raise CellError."""
        if self._made:
            raise CellError("a cell is started once")
        await asyncio.to_thread(thd_sweep, self._place.parent)
        await self._make_files()
        self._machine = machine = await Machine.start(
            self._domain(), self._place, self._folder, {"files": self._folder, "image": self._image.folder}, self._cache
        )
        try:
            with machine.agent:
                channel = await self._first(machine)
            self._agent = Agent(channel)
            await self._agent.greeting(_BOOT_SECONDS)
        except BaseException:
            machine.proxy.close()
            raise
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(self._until_over(machine, self._agent)), loop.create_task(self._until_late())]
        return machine.proxy

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
                raise await self._why(error) from error
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
        except CellError:
            await self._agent.close()
            if self._machine is not None:
                await self._machine.stop()

    async def take(self, folder: PurePosixPath, patterns: Sequence[str]) -> list[Taken]:
        """Give the files of a stopped cell that match; raise ArtifactError for what is no plain file or too much."""
        if self._agent is None or not self._stopped:
            raise CellError("artifacts are taken from a stopped cell")
        most = self._limits.artifacts
        try:
            return await taking.take(self._agent, folder, patterns, most=most, room=self._folder)
        except CellError as error:
            raise await self._why(error) from error

    async def destroy(self) -> None:
        """Leave nothing: no process, no machine, no wire, no file. What fails keeps nothing else from being done."""
        self._stopped = True
        await leave_all(self._forget, self._hang_up, self._switch_off, self._remove)

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

    async def _remove(self) -> None:
        if self._made:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _make_files(self) -> None:
        """Make the build's disks, which QEMU alone reads and writes."""
        self._made = True
        try:
            self._folder.mkdir(mode=_HIDDEN)
            self._folder.chmod(_HIDDEN)
        except OSError as error:
            raise CellError(f"{self._folder} cannot be made: {error.strerror}", hint="make room") from error
        await disks.make_scratch_disk(self._limits.disk, self._folder / "scratch")
        names = ("agent.pl", "forward.pl")
        with as_tar([CellFile(_AGENT / name, (_GUEST / name).read_bytes()) for name in names], 0) as archive:
            await asyncio.to_thread(disks.make_data_disk, archive, self._folder / "data")
        if os.geteuid() == 0:
            for name in ("scratch", "data"):
                os.chown(self._folder / name, *qemu_ids())

    def _domain(self) -> Domain:
        image, files, shape = self._place / "image", self._place / "files", self._shape
        return Domain(
            name=_NAME,
            kind=shape.kind,
            memory=self._limits.memory - self._limits.memory % _MIB,
            processors=shape.processors,
            kernel=image / KERNEL,
            initrd=image / INITRD,
            console=files / "console",
            clock=shape.clock,
            disks=(
                Disk(image / IMAGE, disks.IMAGE),
                Disk(files / "scratch", disks.SCRATCH, writable=True),
                Disk(files / "data", disks.DATA),
            ),
            link=None,
            arguments=(f"hermit.clock={shape.clock}",),
            runs_as=qemu_ids() if os.geteuid() == 0 else None,
        )

    async def _first(self, machine: Machine) -> socket.socket:
        """Wait for the agent: it is there before anything of the build, and nobody after it is heard."""
        accepting = asyncio.ensure_future(asyncio.get_running_loop().sock_accept(machine.agent))
        try:
            waiting = {accepting} if machine.over is None else {accepting, machine.over}
            await asyncio.wait(waiting, timeout=_BOOT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if accepting.done():
                return accepting.result()[0]
            how = "ended" if machine.over is not None and machine.over.done() else f"is not up in {_BOOT_SECONDS:.0f} s"
            raise CellError(f"the VM {how}{_quoted(machine)}", hint="hermit doctor")
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
        self._exceeded = f"time: not done after {self._limits.seconds:g} s (limits: time)"
        await self.stop()

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
        return CellError(f"the VM has ended in the middle of a build{_quoted(machine)}", hint="hermit doctor")


def _quoted(machine: Machine) -> str:
    words = machine.last_words()
    return f"; its console says at the end:\n{words}" if words else " and its console is silent"

"""Takes a cell through its life with the guest's real agent; a process stands for its machine."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import tarfile
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hermit_workers import cellfiles
from hermit_workers.cell import CellError, Command, LimitError, Limits, User
from hermit_workers.vm import cell as module
from hermit_workers.vm.agent import Agent
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from hermit_workers.vm.machine import Machine
from tests.unit.workers.vm.guests import FIRST, GUEST, have_namespaces, open_descriptors

LIMITS = Limits(memory=1 << 30, disk=64 << 20)


class Standing:
    """Stands for a machine.Machine: the agent is a process, and it dials in as a guest does."""

    def __init__(self, *, dials: bool) -> None:
        self.proxy = socket.create_server(("127.0.0.1", 0))
        self.agent = socket.create_server(("127.0.0.1", 0))
        self.agent.setblocking(False)
        self.over: asyncio.Task[None] | None = None
        self._dials = dials
        self._running: asyncio.subprocess.Process | None = None
        self._kept: socket.socket | None = None

    async def begin(self) -> None:
        words = ["sleep", "60"]
        with socket.create_connection(self.agent.getsockname()) if self._dials else socket.socket() as dialled:
            if self._dials:
                words = [*FIRST, "perl", str(GUEST / "agent.pl"), str(dialled.fileno())]
            self._running = await asyncio.create_subprocess_exec(*words, pass_fds=[dialled.fileno()])
            # As on a tap: who is gone there says no farewell.
            self._kept = dialled.dup()
        self.over = asyncio.create_task(self._until_over(self._running))

    async def _until_over(self, running: asyncio.subprocess.Process) -> None:
        await running.wait()

    def break_down(self) -> None:
        assert self._running is not None
        self._running.kill()

    async def stop(self) -> None:
        if self._running is not None and self._running.returncode is None:
            self._running.kill()
        if self.over is not None:
            await asyncio.wait([self.over])
        if self._kept is not None:
            self._kept.close()

    def last_words(self) -> str:
        return "Kernel panic"


@dataclass
class Machines:
    """Is the machines that cells have started; a `deaf` one never calls."""

    started: list[Standing] = field(default_factory=list)
    deaf: bool = False


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Have every machine that a cell starts be one that stands for it."""
    have_namespaces()
    machines = Machines()

    async def start(*_: Any) -> Standing:
        made = Standing(dials=not machines.deaf)
        machines.started.append(made)
        await made.begin()
        return made

    def words(argv: Sequence[str], _user: User, _limits: Limits) -> list[str]:
        return list(argv)  # test_argv.py has the rest, which only a guest's root can do

    monkeypatch.setattr(Machine, "start", start)
    monkeypatch.setattr(module, "step_argv", words)
    return machines


@asynccontextmanager
async def started(tmp_path: Path, limits: Limits = LIMITS) -> AsyncIterator[VmCell]:
    shape = Shape("qemu", 1, 1_600_000_000)
    cell = VmCell(Bootable(tmp_path / "boot"), limits, shape, Places(tmp_path / "cell", tmp_path / "cache", tmp_path))
    try:
        with await cell.start() as listener:
            assert listener.getsockname()
        yield cell
    finally:
        await cell.destroy()
        await cell.destroy()
        assert not (tmp_path / "cell").exists()


async def sh(cell: VmCell, script: str, folder: Path) -> tuple[int, str | None, str]:
    with tempfile.TemporaryFile() as output:
        command = Command(("/bin/sh", "-c", script), {"PATH": "/usr/bin:/bin"}, PurePosixPath(folder))
        ended = await cell.run(command, output=output.fileno())
        output.seek(0)
        return ended.status, ended.exceeded, output.read().decode()


def test_a_cell_runs_commands_stops_gives_its_artifacts_and_leaves_nothing(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        before = open_descriptors()
        async with started(tmp_path) as cell:
            assert await sh(cell, "echo made >artifact; pwd; exit 3", tmp_path) == (3, None, f"{tmp_path}\n")
            with pytest.raises(CellError, match="from a stopped cell"):
                await cell.take(PurePosixPath(tmp_path), ["artifact"])
            await cell.stop()
            (taken,) = await cell.take(PurePosixPath(tmp_path), ["artifact"])
            assert os.read(taken.descriptor, 10) == b"made\n"
            os.close(taken.descriptor)
            with pytest.raises(CellError, match="not running"):
                await sh(cell, "true", tmp_path)
            with pytest.raises(CellError, match="started once"):
                await cell.start()
        assert len(standing.started) == 1
        await asyncio.sleep(0)
        assert open_descriptors() <= before + 1  # the loop's own for its children

    asyncio.run(scenario())


def test_a_tar_is_unpacked_and_what_is_none_says_so(
    tmp_path: Path, standing: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNPACK", replace(cellfiles.UNPACK, argv=("tar", "-x", "-C", str(tmp_path))))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("put/file")
        info.size = 3 << 20
        archive.addfile(info, io.BytesIO(bytes(3 << 20)))

    async def scenario() -> None:
        async with started(tmp_path) as cell:
            for content, right in ((packed.getvalue(), True), (b"no tar" * 1000, False)):
                with tempfile.TemporaryFile() as file:
                    file.write(content)
                    file.seek(0)
                    if right:
                        await cell.put(file.fileno())
                    else:
                        with pytest.raises(CellError, match=r"files cannot be put into the cell: tar: "):
                            await cell.put(file.fileno())
        assert (tmp_path / "put/file").stat().st_size == 3 << 20
        assert standing.started

    asyncio.run(scenario())


def test_a_signal_goes_to_the_command_that_runs(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as cell:
            await cell.interrupt(signal.SIGINT)  # nobody is there to get it
            reading, writing = os.pipe()
            command = Command(("/bin/sleep", "60"), {}, PurePosixPath("/"))
            running = asyncio.create_task(cell.run(command, output=writing))
            while not running.done():  # until it runs: a signal that comes earlier has nobody to go to
                await cell.interrupt(signal.SIGTERM)
                await asyncio.wait([running], timeout=0.05)
            assert (await running).status == 128 + signal.SIGTERM
            os.close(reading)
            os.close(writing)
        assert standing.started

    asyncio.run(scenario())


def test_the_end_of_the_machine_is_told_with_its_last_words(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as cell:
            running = asyncio.create_task(sh(cell, "sleep 60", tmp_path))
            await asyncio.sleep(0.1)
            standing.started[0].break_down()
            with pytest.raises(CellError, match=r"(?s)ended in the middle of a build.*Kernel panic"):
                await running
            with pytest.raises(CellError):
                await sh(cell, "true", tmp_path)

    asyncio.run(scenario())


def test_the_time_of_a_build_ends_what_runs_and_says_so(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        async with started(tmp_path, Limits(memory=1 << 30, disk=64 << 20, seconds=0.5)) as cell:
            told = "time: not done after 0.5 s (limits: time)"
            assert (await sh(cell, "sleep 60", tmp_path))[:2] == (137, told)
            assert (await sh(cell, "true", tmp_path))[:2] == (137, told)
            with tempfile.TemporaryFile() as file, pytest.raises(LimitError, match="time: "):
                await cell.put(file.fileno())
        assert standing.started

    asyncio.run(scenario())


def test_stopping_ends_a_command_and_what_it_has_left(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as cell:
            running = asyncio.create_task(sh(cell, "sleep 60 & sleep 60", tmp_path))
            await asyncio.sleep(0.1)
            await cell.stop()
            await cell.stop()
            assert (await running)[:2] == (137, None)
        assert standing.started

    asyncio.run(scenario())


def test_a_terminal_is_refused(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        ours, theirs = os.openpty()
        async with started(tmp_path) as cell:
            with pytest.raises(CellError, match="no terminal"):
                await cell.run(Command(("true",), {}, PurePosixPath("/")), stdin=theirs, output=theirs)
        os.close(ours)
        os.close(theirs)
        assert standing.started

    asyncio.run(scenario())


def test_a_guest_that_never_calls_is_told_by_its_console(
    tmp_path: Path, standing: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BOOT_SECONDS", 0.2)
    standing.deaf = True

    async def scenario() -> None:
        with pytest.raises(CellError, match=r"(?s)is not up in 0 s.*Kernel panic"):
            async with started(tmp_path):
                pass
        assert standing.started

    asyncio.run(scenario())


def test_a_machine_that_does_not_obey_ends_as_a_whole(
    tmp_path: Path, standing: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(_agent: Agent, seconds: float) -> None:
        raise CellError(f"does not answer in {seconds:g} s")

    monkeypatch.setattr(Agent, "clear", deaf)

    async def scenario() -> None:
        async with started(tmp_path) as cell:
            running = asyncio.create_task(sh(cell, "sleep 60", tmp_path))
            await asyncio.sleep(0.1)
            await cell.stop()
            assert (await running)[:2] == (137, None)
            machine = standing.started[0]
            assert machine.over is not None
            assert machine.over.done()
            with pytest.raises(CellError, match="ended in the middle"):
                await cell.take(PurePosixPath(tmp_path), ["x"])

    asyncio.run(scenario())

"""Takes a cell through its life with the guest's real agent; a process stands for its machine."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers import cellfiles
from hermit_workers.cell import CellError, Command, LimitError, Limits
from hermit_workers.vm import cell as module
from hermit_workers.vm.agent import Agent
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from tests.unit.workers.vm.guests import open_descriptors
from tests.unit.workers.vm.standing import Machines, standing

__all__ = ["standing"]

LIMITS = Limits(memory=1 << 30, disk=64 << 20)


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


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("memory", "memory: the build needs more than 1 GiB (limits: memory)"),
        ("processes", "processes: the build wants more than 4096 (limits: processes)"),
    ],
)
def test_a_limit_that_the_guest_has_kept_ends_the_build_and_is_told(
    tmp_path: Path, standing: Machines, limit: str, told: str
) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as cell:
            running = asyncio.create_task(sh(cell, "sleep 60", tmp_path))
            await asyncio.sleep(0.1)
            cell._on_exceeded(limit)
            assert (await running)[:2] == (137, told)
            assert (await sh(cell, "true", tmp_path))[:2] == (137, told)
        assert standing.started

    asyncio.run(scenario())


def test_a_limit_of_the_machine_that_ended_it_is_told_as_the_builds(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as cell:
            running = asyncio.create_task(sh(cell, "sleep 60", tmp_path))
            await asyncio.sleep(0.1)
            standing.started[0].exceeded = "disk: this machine has 1 KiB left"
            standing.started[0].break_down()
            assert (await running)[:2] == (137, "disk: this machine has 1 KiB left")

    asyncio.run(scenario())


def test_a_machine_that_waits_and_ends_is_told_when_its_build_begins(tmp_path: Path, standing: Machines) -> None:
    async def scenario() -> None:
        places = Places(tmp_path / "cell", tmp_path / "cache", tmp_path)
        cell = VmCell(Bootable(tmp_path / "boot"), LIMITS, Shape("qemu", 1, 1), places)
        try:
            await cell.boot()
            with pytest.raises(CellError, match="has the memory, disk and processes that it has"):
                await cell.lease(replace(LIMITS, disk=1 << 30), 5)
            standing.started[0].break_down()
            assert cell.over is not None
            await asyncio.wait([cell.over])
            with pytest.raises(CellError):
                await cell.lease(LIMITS, 5)
            with pytest.raises(CellError, match=r"(?s)ended before its build began.*Kernel panic"):
                await cell.start()
        finally:
            await cell.destroy()
        assert standing.started[0].proxy.fileno() < 0

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
            with pytest.raises(CellError, match="does not answer in 20 s"):
                await cell.take(PurePosixPath(tmp_path), ["x"])

    asyncio.run(scenario())

"""Takes from a VM what it needs, or gives it too little: each refusal names the cause, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError
from hermit_workers.cell import CellError, Ended, Limits
from hermit_workers.sandbox.limits import watch
from hermit_workers.sandbox.limits.cgroups import Cgroup
from hermit_workers.vm import bounds, cell, layout, machine
from tests.integration.vm.faults.cases import FAULTS
from tests.integration.vm.faults.vmbench import LIMITS, VmBench, cut

pytestmark = [pytest.mark.registry, pytest.mark.timeout(280)]

# sync(2): what the guest keeps in its memory fills no disk of the host's.
_FILLS = "perl -e 'open F, q(>/build/full); print F qq(x) x (1 << 20) for 1 .. 200; close F; syscall 162; sleep 1000'"
_TAKES = 'my $x = "x" x (300 << 20); print length $x; sleep 60'
_SPEAKS = 'open F, ">/dev/console"; print F "x" x 1023, "\\n" for 1 .. 3 << 10; print F "the end\\n"'


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """Have a disk of that size."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@asynccontextmanager
async def started(bench: VmBench) -> AsyncIterator[None]:
    try:
        with await bench.start():
            yield
    finally:
        await bench.cell.destroy()


async def refused(bench: VmBench) -> HermitError:
    """Start a cell that cannot be started, and give the error."""
    with pytest.raises(HermitError) as caught:
        async with started(bench):
            pass
    return caught.value


def check(name: str, error: HermitError) -> None:
    assert error.exit_code == FAULTS[name].code
    assert FAULTS[name].says in f"{error} ({error.hint})"


def check_ended(name: str, ended: Ended) -> None:
    """A limit is the build's doing: its step ends by it."""
    assert FAULTS[name].code == ExitCode.FAILED
    assert ended.status == 137
    assert FAULTS[name].says in str(ended.exceeded)


def held_by(process: int | None) -> dict[str, str]:
    """Give a process's limits."""
    text = Path(f"/proc/{process}/limits").read_text()
    return dict(re.findall(r"^Max ([a-z ]+?) {2,}(\S+)", text, re.MULTILINE))


def test_a_libvirt_that_refuses(bench: VmBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU is there and does not run, as where a library of its is missing."""
    programs = bench.place / "bin"
    programs.mkdir(mode=0o755)
    (programs / "qemu-system-x86_64").write_text("#!/bin/sh\necho no library >&2\nexit 1\n")
    (programs / "qemu-system-x86_64").chmod(0o755)
    monkeypatch.setattr(layout, "PATH", f"{programs}:{layout.PATH}")
    check("no QEMU", asyncio.run(refused(bench)))
    shutil.rmtree(programs)


def test_a_program_that_is_missing(bench: VmBench, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = bench.place / "bin"
    programs.mkdir()
    for name in ("libvirtd", "virtlogd", "qemu-system-x86_64"):
        (programs / name).symlink_to(str(shutil.which(name, path=layout.PATH)))
    monkeypatch.setattr(layout, "PATH", str(programs))
    check("no virsh", asyncio.run(refused(bench)))
    shutil.rmtree(programs)


def test_a_disk_without_room_for_the_disks_of_a_vm(bench: VmBench) -> None:
    with tmpfs(bench.place / "small", "64k") as small:
        bench.another(folder=small / "cell")
        check("no room", asyncio.run(refused(bench)))


@pytest.mark.long
def test_a_vm_with_more_memory_than_there_is(bench: VmBench) -> None:
    bench.another(replace(LIMITS, memory=1 << 40))
    check("no such memory", asyncio.run(refused(bench)))


@pytest.mark.long
def test_a_disk_that_fills_in_the_middle_of_a_build(bench: VmBench) -> None:
    async def scenario() -> None:
        async with started(bench):
            check_ended("disk full", (await bench.sh(_FILLS))[0])

    with tmpfs(bench.place / "small", "1150m") as small:
        bench.another(folder=small / "cell")
        asyncio.run(scenario())


@pytest.mark.long
def test_a_disk_that_is_full_at_once(bench: VmBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fills between two looks of the watchdog, which here never looks: libvirt stops the machine then."""
    monkeypatch.setattr(watch, "RESERVED_DISK", 0)

    async def scenario() -> None:
        async with started(bench):
            with pytest.raises(CellError) as caught:
                await bench.sh(_FILLS)
            check("disk full at once", caught.value)

    with tmpfs(bench.place / "small", "64m") as small:
        bench.another(folder=small / "cell")
        asyncio.run(scenario())


@pytest.mark.long
def test_a_qemu_that_takes_more_than_it_may(bench: VmBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have less here than its guest uses, which is what a QEMU that was taken over is to the kernel."""
    if (group := Cgroup.make(Limits())) is None or "memory" not in group.holds:
        pytest.skip("no control group for memory")
    group.remove()
    monkeypatch.setattr(bounds, "OWN", -(620 << 20))

    async def scenario() -> None:
        async with started(bench):
            ended, _ = await bench.sh(f"perl -e '{_TAKES}'")
            check_ended("memory beside", ended)

    asyncio.run(scenario())


@pytest.mark.long
def test_a_wire_that_is_cut(bench: VmBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes of silence are too long for a test."""
    monkeypatch.setitem(machine._ALIVE, socket.TCP_KEEPIDLE, 2)
    monkeypatch.setitem(machine._ALIVE, socket.TCP_KEEPINTVL, 1)

    async def scenario() -> None:
        async with started(bench):
            (tap,) = bench.taps
            with pytest.raises(CellError) as caught:
                await bench.sh("echo here; sleep 1000", lambda: cut(tap))
            check("wire cut", caught.value)

    asyncio.run(scenario())


@pytest.mark.long
@pytest.mark.parametrize("fault", ["kernel cut", "initrd cut", "image cut"])
def test_an_image_that_does_not_boot(bench: VmBench, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    name = fault.partition(" ")[0]
    monkeypatch.setattr(cell, "_BOOT_SECONDS", 60.0)
    damaged = bench.place / "damaged"
    shutil.copytree(bench.boots.folder, damaged)
    damaged.chmod(0o755)
    (damaged / name).chmod(0o644)
    os.truncate(damaged / name, (damaged / name).stat().st_size // 2)
    bench.boots = replace(bench.boots, folder=damaged)
    bench.another()
    error = asyncio.run(refused(bench))
    check(fault, error)
    shutil.rmtree(damaged)


@pytest.mark.long
def test_a_guest_that_speaks_for_ever_fills_no_more_than_two_files_of_the_host(bench: VmBench) -> None:
    async def scenario() -> None:
        async with started(bench):
            await bench.sh(f"perl -e '{_SPEAKS}'")
            await bench.until("its last word", lambda: "the end" in bench.console())
            logs = sorted((bench.place / "cell").glob("console*"))
            assert [path.name for path in logs] == ["console", "console.0"]
            assert sum(path.stat().st_size for path in logs) <= 2 << 20
            assert sum(path.stat().st_size for path in bench.place.rglob("said*")) < 1 << 20

    asyncio.run(scenario())


@pytest.mark.long
def test_what_runs_a_vm_is_held_by_the_kernel(bench: VmBench) -> None:
    async def scenario() -> None:
        async with started(bench):
            for part in ("QEMU", "libvirtd", "virtlogd"):
                found = held_by(bench.find(part))
                assert found["file size"] == str(LIMITS.disk)
                assert found["core file size"] == "1"
                assert int(found["data size"]) < 3 << 30

    asyncio.run(scenario())

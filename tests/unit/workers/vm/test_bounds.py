"""Counts what a machine may take, and has the kernel hold processes that stand for one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import watch
from hermit_workers.sandbox.limits.cgroups import Cgroup
from hermit_workers.vm.bounds import Bounds, Held, bounds_of
from hermit_workers.vm.domain import Domain

MIB = 1 << 20
DOMAIN = Domain(
    name="hermit-build",
    kind="qemu",
    memory=512 * MIB,
    processors=2,
    kernel=Path("/k"),
    initrd=Path("/i"),
    disks=(),
    link=None,
    console=Path("/c"),
    clock=0,
)
BOUNDS = Bounds(guest=32 * MIB, memory=64 * MIB, processes=16, file=MIB)
GROWS = "import sys; sys.stdin.read(1); x = b'x' * (200 << 20); sys.stdin.read()"


def test_what_runs_a_machine_is_counted_beside_its_memory() -> None:
    emulated, real = bounds_of(DOMAIN, 3 << 30), bounds_of(replace(DOMAIN, kind="kvm"), 0)
    assert (emulated.guest, emulated.memory, emulated.file) == (512 * MIB, (512 + 512 + 256) * MIB, 3 << 30)
    assert (real.memory, real.file) == ((512 + 256) * MIB, 64 * MIB)
    assert emulated.processes > 2 + 20 + 64


def test_each_process_is_held_in_what_every_kernel_holds() -> None:
    found = BOUNDS.rlimits()
    assert found["RLIMIT_FSIZE"] == MIB
    assert found["RLIMIT_CORE"] == 1
    assert found["RLIMIT_DATA"] > BOUNDS.memory
    assert found["RLIMIT_NOFILE"] > 0


def have_group() -> None:
    group = Cgroup.make(Limits())
    holds = group.holds if group is not None else ()
    if group is not None:
        group.remove()
    if "memory" not in holds:
        pytest.skip("no control group for memory here")


def test_a_process_that_takes_more_is_killed_and_that_is_told() -> None:
    have_group()

    held = Held(BOUNDS)
    with subprocess.Popen([sys.executable, "-c", GROWS], stdin=subprocess.PIPE) as grows:
        held.admit(grows.pid)
        assert held.exceeded() is None
        grows.communicate(b"now")
    assert grows.returncode == -9
    assert held.exceeded() == "memory: the VM needs more than its 32 MiB, and what runs it more than 32 MiB"
    asyncio.run(held.stop())
    asyncio.run(held.stop())


def test_a_disk_that_runs_out_is_told_once_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESERVED_DISK", 1 << 60)

    async def scenario() -> str:
        said: asyncio.Queue[str] = asyncio.Queue()
        held = Held(BOUNDS)
        held.watch(tmp_path, said.put_nowait)
        told = await asyncio.wait_for(said.get(), 30)
        await held.stop()
        assert said.empty()
        return told

    before = len(os.listdir("/proc/self/fd"))
    assert asyncio.run(scenario()).startswith("disk: this machine has ")
    assert len(os.listdir("/proc/self/fd")) == before

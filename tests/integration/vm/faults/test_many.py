"""Boots VMs many times in a row and several at once: the machine is as it was before."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermit_workers.cell import Ended
from tests.integration.faults import processes
from tests.integration.faults.buildbench import groups
from tests.integration.vm.faults.vmbench import VmBench, mounts, namespaces

pytestmark = [pytest.mark.long, pytest.mark.registry]

# Kernel memory and memory file systems that no process holds any more, in kB; others work on the machine, too.
_MEMORY = re.compile(r"^(?:Shmem|SUnreclaim): +(\d+) kB$", re.MULTILINE)
_MORE_MEMORY = 256 << 10
_MORE_OWN = 64 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """Is what VMs use of a machine, as far as it is this test's: all of it has to be the same afterwards."""

    processes: frozenset[int]
    namespaces: frozenset[str]
    mounts: tuple[str, ...]
    descriptors: int
    groups: frozenset[Path]
    files: frozenset[str]


def look(bench: VmBench) -> Machine:
    processes.bury(set())
    return Machine(
        processes=frozenset(processes.below(os.getpid())),
        namespaces=frozenset(namespaces()),
        mounts=tuple(filter(re.compile(re.escape(str(bench.place))).search, mounts())),
        descriptors=len(os.listdir("/proc/self/fd")),
        groups=frozenset(groups({os.getpid()})),
        files=frozenset(str(path) for path in bench.place.rglob("*")),
    )


def memory() -> int:
    return sum(map(int, _MEMORY.findall(Path("/proc/meminfo").read_text())))


def own_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def build(bench: VmBench, name: str) -> None:
    """Do what a build does: boot, run, stop, and leave."""
    cell = bench.another(folder=bench.place / name)
    try:
        with await cell.start():
            bench.note()
            assert await bench.sh(f"echo {name}", cell=cell) == (Ended(0), f"{name}\n")
            await cell.stop()
    finally:
        await cell.destroy()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", [50])
def test_vms_in_a_row_leave_the_machine_as_it_was(bench: VmBench, times: int) -> None:
    async def scenario() -> None:
        await build(bench, "first")  # what is made once: threads, the loop's own, libvirt's cache
        before, needed, own = look(bench), memory(), own_memory()
        for number in range(times):
            await build(bench, f"row-{number}")
        assert look(bench) == before
        told = f"{times} in a row: Shmem and SUnreclaim {memory() - needed:+} kB, own {own_memory() - own:+} bytes"
        sys.stdout.write(told)
        assert memory() - needed < _MORE_MEMORY, told
        assert own_memory() - own < _MORE_OWN, told

    asyncio.run(scenario())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [4])
def test_vms_at_once_leave_the_machine_as_it_was(bench: VmBench, number: int) -> None:
    async def scenario() -> None:
        await build(bench, "first")
        before = look(bench)
        await asyncio.gather(*(build(bench, f"at-once-{one}") for one in range(number)))
        assert look(bench) == before

    asyncio.run(scenario())

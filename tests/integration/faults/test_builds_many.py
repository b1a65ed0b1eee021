"""Builds many times in a row and several at once: the machine is as it was before."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.faults import processes
from tests.integration.faults.buildbench import LEFT_OF_BUILDS, BuildBench, groups
from tests.integration.faults.conftest import MakeBuildBench

# Kernel memory and memory file systems that no process holds any more, in kB; others work on the machine, too.
_MEMORY = re.compile(r"^(?:Shmem|SUnreclaim): +(\d+) kB$", re.MULTILINE)
_MORE_MEMORY = 256 << 10
_KEPT_RUNS = 21
_OFTEN = [pytest.param(10, id="10"), pytest.param(100, id="100", marks=pytest.mark.long)]
_AT_ONCE = [pytest.param(3, id="3"), pytest.param(8, id="8", marks=pytest.mark.long)]


@dataclass(frozen=True, slots=True)
class Machine:
    """Is what builds use of a machine, as far as it is this test's: all of it has to be the same afterwards."""

    processes: frozenset[int]
    namespaces: frozenset[str]
    mounts: tuple[str, ...]
    descriptors: int
    groups: frozenset[Path]
    files: frozenset[str]


def look(benches: Iterable[BuildBench], hermits: Iterable[int] = ()) -> Machine:
    processes.bury(set())
    own = processes.below(os.getpid())
    links = (link for pid in (os.getpid(), *own) for link in Path(f"/proc/{pid}/ns").iterdir())
    return Machine(
        processes=frozenset(own),
        namespaces=frozenset(os.readlink(link) for link in links),
        mounts=tuple(Path("/proc/self/mountinfo").read_text().splitlines()),
        descriptors=len(os.listdir("/proc/self/fd")),
        groups=frozenset(groups(set(hermits))),
        files=frozenset(path for bench in benches for path in files(bench)),
    )


def files(bench: BuildBench) -> set[str]:
    """Name everything that Hermit keeps for this user but logs and results, and what the image consists of."""
    folders = ("state", "data", "cache", "tmp", "runtime", "store", "project")
    found = {str(path.relative_to(bench.folder)) for name in folders for path in (bench.folder / name).rglob("*")}
    logs = re.compile(rf"state/hermit/runs/[^/]+(/({'|'.join(map(re.escape, LEFT_OF_BUILDS))}))?")
    return {path for path in found if not logs.fullmatch(path)}


def memory() -> int:
    return sum(map(int, _MEMORY.findall(Path("/proc/meminfo").read_text())))


@pytest.mark.parametrize("times", _OFTEN)
def test_builds_in_a_row_leave_the_machine_as_it_was(build_bench: BuildBench, times: int) -> None:
    bench = build_bench
    bench.spec(bench.fetching("/old"), {"run": "echo hi >out"}, artifacts=("out",))
    for mode in ("record", "hermetic"):
        bench.run(mode)
    before, needed = look([bench]), memory()
    hermits = []
    for number in range(times):
        running = bench.start("record" if number % 10 == 0 else "hermetic")
        assert running.end().code == 0, running.said.read_text()
        hermits.append(running.popen.pid)
    assert look([bench], hermits) == before
    assert memory() - needed < _MORE_MEMORY
    assert len(bench.runs()) <= _KEPT_RUNS
    bench.check_store()
    bench.check_image()


@pytest.mark.parametrize("number", _AT_ONCE)
def test_builds_at_once_leave_the_machine_as_it_was(make_build_bench: MakeBuildBench, number: int) -> None:
    benches = [make_build_bench() for _ in range(number)]
    for bench in benches:
        bench.spec(bench.fetching("/old"), {"run": f"echo {bench.folder.name} >out"}, artifacts=("out",))
        bench.run("record")
    before, needed = look(benches), memory()
    hermits = []
    for _ in range(2):
        running = [bench.start("hermetic") for bench in benches]
        hermits += [one.popen.pid for one in running]
        # All of them first: what is left is told by descent, and each is of the same parent.
        for one in running:
            one.popen.wait(120)
        for one in running:
            assert one.end().code == 0, one.said.read_text()
    for bench in benches:
        assert (bench.hermit.project / ".hermit/out/out").read_text() == f"{bench.folder.name}\n"
        bench.check_store()
    assert look(benches, hermits) == before
    assert memory() - needed < _MORE_MEMORY
    benches[0].check_image()


def test_builds_of_one_project_at_once_do_not_harm_each_other(build_bench: BuildBench) -> None:
    bench = build_bench
    bench.spec(
        bench.fetching("/old"), {"run": "seq 100 | while read i; do echo $i >$i.txt; done"}, artifacts=("*.txt",)
    )
    running = [bench.start("hermetic") for _ in range(3)]
    for one in running:
        one.popen.wait(120)
    for one in running:
        assert one.end().code == 0, one.said.read_text()
    assert len(list((bench.hermit.project / ".hermit/out").glob("*.txt"))) == 100
    assert not list(bench.hermit.project.rglob("*~*"))
    bench.check_swept()

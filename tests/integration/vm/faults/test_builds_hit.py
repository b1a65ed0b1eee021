"""Kills and interrupts `hermit build --cell vm` and its proxy: what they leave, the next build removes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.integration.faults.bench import Site, site
from tests.integration.faults.buildbench import ADDRESS, LEFT_OF_KILLED, MARK
from tests.integration.faults.cases import Case
from tests.integration.faults.processes import until
from tests.integration.vm.faults import cases
from tests.integration.vm.faults.buildvm import VmBuildBench, check_gone, locked_by, make_library

pytestmark = [pytest.mark.long, pytest.mark.registry, pytest.mark.timeout(290)]

_PATIENCE = 120.0
LOCK = ".hermit/image.lock"  # of the first build of a project


@pytest.fixture(scope="session")
def web() -> Iterator[Site]:
    with site(ADDRESS, ADDRESS) as found:
        yield found


@pytest.fixture(scope="session")
def library(image: Path) -> Path:
    return make_library(image / "library", image / "root")


@pytest.fixture
def build_bench(web: Site, library: Path, image: Path, place: Path) -> Iterator[VmBuildBench]:
    made = VmBuildBench(place / "user", web, library, image / "cache-of-builds")
    yield made
    made.close()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in cases.BUILD_CASES])
def test_a_build_in_a_vm_that_is_hit(build_bench: VmBuildBench, case: Case) -> None:
    bench = build_bench
    bench.spec(f"{bench.fetching('/old')}; echo {MARK}; exec sleep 1000")
    running = bench.start("record")
    held = bench.stands if case.stage is cases.RUNNING else lambda: "hermit: " in bench.console()
    until(case.stage.how, lambda: running.popen.poll() is not None or held(), _PATIENCE)
    assert running.popen.poll() is None, running.said.read_text()
    machines = locked_by(running.popen.pid)
    assert len(machines) == 2, "a link and a folder"
    running.hit(case.victim, case.signal)
    done = running.end(_PATIENCE)
    assert done.code == case.code, done.said
    assert case.says in done.said
    assert "Traceback" not in done.said
    assert {name: text for name, text in bench.tree().items() if name != LOCK} == bench.before
    if case.victim == "hermit" and case.signal is SIGKILL:
        left = {name for names in bench.runs().values() for name in names}
        assert left <= LEFT_OF_KILLED | {"cell"}, left
    else:
        check_gone(machines)
        bench.check_swept()
    bench.check_next("record", "/old")
    check_gone(machines)
    bench.check_image()

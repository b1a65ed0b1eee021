"""Kills and interrupts every part of a build at every stage: docs/faults.md is the table of what its user sees."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from hermit_proxy.store.files import FileStore
from tests.integration.faults.buildbench import LEFT_OF_KILLED, BuildBench
from tests.integration.faults.buildcases import BUILD_CASES, KEEPING, STARTING, is_long
from tests.integration.faults.buildstages import HOLDS, PATHS, starting
from tests.integration.faults.cases import Case
from tests.integration.faults.conftest import MakeBuildBench
from tests.integration.faults.gate import Gate
from tests.integration.faults.stages import gate_to
from tests.support.redis import redis_server


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, str]]:
    """Give a shared store behind a gate, and its URL."""
    folder = tmp_path_factory.mktemp("redis")
    at = folder / "gate"
    with redis_server(folder / "server") as url, gate_to(Path(url.removeprefix("unix://")), at) as gate:
        yield gate, f"unix://{at}"


def cases(*, shared: bool) -> list[object]:
    wanted = [case for case in BUILD_CASES if (case.stage is STARTING) is shared]
    return [pytest.param(case, id=case.id, marks=[pytest.mark.long] if is_long(case) else []) for case in wanted]


@pytest.mark.parametrize("case", cases(shared=False))
def test_a_build_that_is_hit(build_bench: BuildBench, case: Case) -> None:
    bench = build_bench
    with HOLDS[case.stage](bench, case.stage) as running:
        running.hit(case.victim, case.signal)
        running.release()
        done = running.end()
    check(bench, case, done.code, done.said)
    bench.check_next(case.stage.mode, *PATHS.get(case.stage, ("/old",)))
    bench.check_store()
    bench.check_image()
    FileStore(bench.hermit.store).sweep()
    assert not list((bench.hermit.store / "tmp").iterdir())


@pytest.mark.parametrize("case", cases(shared=True))
def test_a_build_that_is_hit_while_it_starts(
    make_build_bench: MakeBuildBench, shared: tuple[Gate, str], case: Case
) -> None:
    gate, url = shared
    bench = make_build_bench(store=url)
    with starting(bench, case.stage, gate) as running:
        running.hit(case.victim, case.signal)
        running.release()
        done = running.end()
    check(bench, case, done.code, done.said)
    bench.check_next(case.stage.mode)
    bench.check_image()


def check(bench: BuildBench, case: Case, code: int, said: str) -> None:
    assert code == case.code, said
    assert case.says in said, said
    assert "Traceback" not in said, said
    killed = case.victim == "hermit" and case.signal is SIGKILL
    # A killed hermit has no say: half a folder for artifacts stays beside the whole one until the next build.
    unfinished = [path.name for path in bench.hermit.project.rglob("*~")]
    assert all(killed and fnmatch(name, ".out.*.new~") for name in unfinished), unfinished
    files = {name: text for name, text in bench.tree().items() if "~/" not in name}
    if case.stage is KEEPING and case.signal is SIGTERM and files[".hermit/out/out"] == b"new\n":
        files |= {name: text for name, text in bench.before.items() if name.startswith(".hermit/out/")}  # whole, too
    assert files == bench.before
    if not killed:
        bench.check_swept()
    else:
        assert {name for names in bench.runs().values() for name in names} <= LEFT_OF_KILLED, bench.runs()

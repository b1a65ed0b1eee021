"""Kills and interrupts every part of a run at every stage: docs/faults.md is the table of what its user sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy.store.files import FileStore
from tests.integration.faults.bench import Bench, Site
from tests.integration.faults.cases import CASES, COMMITTING, STARTING, STARTING_HERMETIC, Case
from tests.integration.faults.conftest import MakeBench
from tests.integration.faults.gate import Gate
from tests.integration.faults.stages import HOLDS, PATHS, gate_to, starting
from tests.support.redis import redis_server

# When one of these is gone the run ends in order, which takes a proxy that can do its work.
CELL = {"bubblewrap", "init", "command"}


@pytest.fixture(scope="session")
def shared(web: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, str, Bench]]:
    """Give a shared store behind a gate, its URL, and a project that was recorded there."""
    folder = tmp_path_factory.mktemp("redis")
    at = folder / "gate"
    with redis_server(folder / "server") as url, gate_to(Path(url.removeprefix("unix://")), at) as gate:
        seed = Bench(folder / "user", web, store=f"unix://{at}")
        seed.run("record", *seed.fetch("/old", "/large"))
        yield gate, f"unix://{at}", seed


def cases(*, shared: bool) -> list[object]:
    wanted = {STARTING, STARTING_HERMETIC}
    return [pytest.param(case, id=case.id) for case in CASES if (case.stage in wanted) is shared]


@pytest.mark.parametrize("case", cases(shared=False))
def test_a_run_that_is_hit(bench: Bench, case: Case) -> None:
    with HOLDS[case.stage](bench, case.stage) as running:
        running.hit(case.victim, case.signal)
        if case.victim in CELL or (case.stage is COMMITTING and case.code == 1):
            running.release()
        done = running.end()
    check(bench, case, done.code, done.said)
    bench.check_next(case.stage.mode, *PATHS[case.stage])
    bench.check_store()
    FileStore(bench.hermit.store).sweep()
    assert not list((bench.hermit.store / "tmp").iterdir())


@pytest.mark.parametrize("case", cases(shared=True))
def test_a_run_that_is_hit_while_it_starts(make_bench: MakeBench, shared: tuple[Gate, str, Bench], case: Case) -> None:
    gate, url, _ = shared
    bench = make_bench(store=url)
    with starting(bench, case.stage, gate) as running:
        running.hit(case.victim, case.signal)
        if case.victim in CELL:
            running.release()
        done = running.end()
    check(bench, case, done.code, done.said)
    bench.check_next(case.stage.mode, *PATHS[case.stage])


def check(bench: Bench, case: Case, code: int, said: str) -> None:
    assert code == case.code, said
    assert case.says in said, said
    assert "Traceback" not in said, said
    bench.check_tree_untouched()
    if case.victim != "hermit" or case.code == 1:
        bench.check_swept()

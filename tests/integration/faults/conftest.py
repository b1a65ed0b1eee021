"""Gives every fault a user, a site and the processes that it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.faults import processes
from tests.integration.faults.bench import Bench, Site, site
from tests.support.hermit import need_namespaces

MakeBench = Callable[..., Bench]


@pytest.fixture(autouse=True)
def adopted() -> Iterator[None]:
    with processes.adopting():
        yield


@pytest.fixture(scope="session")
def web() -> Iterator[Site]:
    need_namespaces()
    with site() as found:
        yield found


@pytest.fixture(scope="session")
def seed(web: Site, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Record once what every test begins with."""
    bench = Bench(tmp_path_factory.mktemp("seed") / "user", web)
    bench.run("record", *bench.fetch("/old", "/large"))
    return bench


@pytest.fixture
def make_bench(web: Site, seed: Bench, tmp_path: Path) -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make(**options: str | None) -> Bench:
        made.append(Bench(tmp_path / f"user-{len(made)}", web, seed, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()

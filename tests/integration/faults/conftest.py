"""Gives every fault a user, a site and the processes that it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.faults import processes
from tests.integration.faults.bench import Bench, Site, site
from tests.integration.faults.buildbench import ADDRESS, BuildBench, make_library
from tests.support.hermit import need_namespaces

MakeBench = Callable[..., Bench]
MakeBuildBench = Callable[..., BuildBench]


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


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the image that builds of these tests run in."""
    need_namespaces()
    return make_library(tmp_path_factory.mktemp("library") / "images")


@pytest.fixture(scope="session")
def build_web() -> Iterator[Site]:
    with site(ADDRESS, ADDRESS) as found:
        yield found


@pytest.fixture(scope="session")
def build_seed(build_web: Site, library: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildBench:
    """Record once what every build begins with."""
    bench = BuildBench(tmp_path_factory.mktemp("seed") / "user", build_web, library=library)
    bench.spec(bench.fetching("/old"), {"run": "echo old >out"}, artifacts=("out",))
    bench.run("record")
    return bench


@pytest.fixture
def make_build_bench(
    build_web: Site, build_seed: BuildBench, library: Path, tmp_path: Path
) -> Iterator[MakeBuildBench]:
    made: list[BuildBench] = []

    def make(**options: str | None) -> BuildBench:
        made.append(BuildBench(tmp_path / f"user-{len(made)}", build_web, build_seed, library=library, **options))  # type: ignore[arg-type]  # passed through
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def build_bench(make_build_bench: MakeBuildBench) -> BuildBench:
    return make_build_bench()

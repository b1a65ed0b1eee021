"""Gives the attacks their proxies, servers and victims."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.hostile.siege import World
from tests.integration.hostile.wire import Hostile
from tests.support.hermit import need_namespaces
from tests.support.testca import TestCA, make_ca

MODES = ("record", "hermetic")


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def world(tmp_path: Path, ca: TestCA) -> Iterator[World]:
    need_namespaces()
    with World(tmp_path / "world", trust=ca.ca) as made:
        yield made


@pytest.fixture
def victim() -> Iterator[Hostile]:
    with Hostile() as listening:
        yield listening

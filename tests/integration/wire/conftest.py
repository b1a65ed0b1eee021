"""Gives the tests of the wire their servers and their user of hermit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import clients
from tests.support.hermit import Hermit, need_namespaces
from tests.support.origin import Origin
from tests.support.testca import TestCA, make_ca

MakeHermit = Callable[..., Hermit]


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def tls(ca: TestCA) -> Iterator[Origin]:
    with Origin(ca) as origin:
        yield origin


@pytest.fixture
def plain() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def make_hermit(tmp_path: Path, ca: TestCA) -> MakeHermit:
    need_namespaces()

    def make(**options: Any) -> Hermit:
        return Hermit(tmp_path / "user", trust=ca.ca, **options)

    return make


@pytest.fixture(scope="session")
def old_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clients.install_old_pip(tmp_path_factory.mktemp("pip"))


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clients.install_uv(tmp_path_factory.mktemp("uv"))


@pytest.fixture(scope="session")
def old_npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clients.install_old_npm(tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="session")
def new_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clients.install_new_node(tmp_path_factory.mktemp("node"))

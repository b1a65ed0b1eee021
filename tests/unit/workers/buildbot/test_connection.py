"""Asks a connection what Buildbot asks a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hermit_proxy.errors import HermitError
from hermit_proxy.settings import Settings
from hermit_workers.buildbot.connection import CellConnection
from hermit_workers.buildbot.workplace import STAYS, Site, Workplace
from hermit_workers.runfolders import RunFolders


@pytest.fixture
def connection(tmp_path: Path) -> CellConnection:
    place = Workplace(Site(RunFolders(tmp_path, STAYS), "sandbox", Settings(), {}))
    return CellConnection("cell", place, last=False)


def given(waiting: Deferred[Any]) -> Any:
    found: list[Any] = []
    waiting.addBoth(found.append)
    return found[0]


def test_a_cell_takes_all_builders_and_tells_nothing_of_a_builds(connection: CellConnection) -> None:
    assert given(connection.remoteSetBuilderList([("record", "record"), ("hermetic", "x")])) == ["record", "hermetic"]
    assert set(given(connection.remoteGetWorkerInfo())) == {"version", "system", "basedir", "worker_commands"}


def test_a_step_of_buildbots_is_told_that_nobody_runs_it(connection: CellConnection) -> None:
    failure = given(connection.remoteStartCommand(None, "record", "1", "shell", {}))
    assert failure.check(HermitError)
    assert "`shell`" in failure.getErrorMessage()


def test_who_listens_hears_that_the_worker_has_gone(connection: CellConnection) -> None:
    heard: list[bool] = []
    connection.notifyOnDisconnect(lambda: heard.append(True))  # type: ignore[no-untyped-call]  # Buildbot's
    connection.loseConnection()
    assert heard == [True]

"""Configures workers, right and wrong; tests/integration/master has them build."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from buildbot.config.errors import ConfigErrors, capture_config_errors
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.plugins import worker
from twisted.internet.defer import succeed

from hermit_proxy.bridge import future
from hermit_proxy.settings import Settings
from hermit_workers.buildbot.worker import HermitLatentWorker
from hermit_workers.buildbot.workplace import STAYS, Site
from hermit_workers.runfolders import RunFolders


def test_buildbot_finds_the_worker_among_its_plugins() -> None:
    assert worker.HermitLatentWorker is HermitLatentWorker


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cell": "jail"}, "'jail' is no kind of cell"),
        ({"password": "x"}, "password is no setting"),
        ({"max_builds": 3}, "max_builds is no setting"),
        ({"build_wait_timeout": 60}, "build_wait_timeout is no setting"),
        ({"settings": "/nowhere/config.yaml"}, "/nowhere/config.yaml"),
    ],
)
def test_a_worker_that_could_not_work_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigErrors) as raised, capture_config_errors(raise_on_error=True):
        HermitLatentWorker("cell", **given)
    assert told in "\n".join(raised.value.errors)


def test_mistakes_in_the_settings_are_all_told(tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text("stor: /x\nobservers: none\n")
    with pytest.raises(ConfigErrors) as raised, capture_config_errors(raise_on_error=True):
        HermitLatentWorker("cell", settings=str(settings))
    assert "config.yaml:1: " in raised.value.errors[0]
    assert "config.yaml:2: " in raised.value.errors[0]


def test_on_another_event_loop_the_worker_says_which_it_needs() -> None:
    failed: list[Any] = []
    HermitLatentWorker("cell").reconfigService("cell").addErrback(failed.append)
    assert "twistd --reactor=asyncio" in failed[0].getErrorMessage()


@pytest.mark.parametrize(
    ("tries", "error"), [(1, LatentWorkerFailedToSubstantiate), (2, LatentWorkerCannotSubstantiate)]
)
def test_a_folder_that_cannot_be_made_is_tried_once_more(
    tries: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "builds").write_text("a file in its place")
    assert isinstance(started(tries, tmp_path, monkeypatch), error)


def test_what_was_tried_twice_is_not_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = started(3, tmp_path, monkeypatch)
    assert isinstance(found, LatentWorkerCannotSubstantiate)
    assert "tried 2 times" in str(found)
    assert list(tmp_path.iterdir()) == []


def started(tries: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """Start a build whose request has so many builds, this one among them; give what that fails with."""
    data = SimpleNamespace(get=lambda _path: succeed([{}] * tries))
    monkeypatch.setattr(HermitLatentWorker, "master", SimpleNamespace(data=data))
    worker = HermitLatentWorker("cell")
    worker._site = Site(RunFolders(folder / "builds", STAYS), "sandbox", Settings(), {})

    async def run() -> None:
        await future(worker.start_instance(SimpleNamespace(requests=[SimpleNamespace(id=7)])))

    with pytest.raises(Exception, match="cell") as raised:
        asyncio.run(run())
    return raised.value

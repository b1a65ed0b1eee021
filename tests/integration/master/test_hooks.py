"""Sends signed deliveries over HTTP to a real master: a push is one change, and what is not believed is none."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hermit_master.hooks.delivery import GITEA, MAX_BODY, Delivery
from tests.support.deliveries import SHA, encoded, pull_request, push, signed
from tests.support.master import PATIENCE, Master
from tests.support.operator import REPOSITORY, Operator

# Buildbot means to say 202, and has begun its answer by then.
TAKEN, REFUSED = 200, 400
_CONFIG = """\
from pathlib import Path
from buildbot.plugins import schedulers, util, worker
from hermit_master.hooks.handler import dialects
from hermit_master.settings.configuration import load_configuration

BuildmasterConfig = {{
    "buildbotNetUsageData": None,
    "db": {{"db_url": "sqlite:///state.sqlite"}},
    "protocols": {{"pb": {{"port": "tcp:0:interface=127.0.0.1"}}}},
    "www": {{
        "port": "tcp:0:interface=127.0.0.1",
        "plugins": {{}},
        "change_hook_dialects": dialects(lambda: load_configuration(Path({path!r}))),
    }},
    "workers": [worker.Worker("nobody", "who-never-comes")],
    "builders": [util.BuilderConfig(name="nothing", workernames=["nobody"], factory=util.BuildFactory())],
    "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["nothing"])],
}}
"""


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    operator = Operator(tmp_path / "operator")
    operator.repository("project")
    operator.repository("other", REPOSITORY.replace("github", "forgejo").replace("org/project", "other/project"))
    return operator


@contextmanager
def listening(template: Path, folder: Path, operator: Operator) -> Iterator[Master]:
    if not folder.exists():
        shutil.copytree(template, folder)
    (folder / "master.cfg").write_text(_CONFIG.format(path=str(operator.file)))
    master = Master(folder, None, PATIENCE)
    try:
        master.wait()
        yield master
    finally:
        master.end()


def send(master: Master, delivery: Delivery, path: str = "github/project", method: str = "POST") -> int:
    """Give the status of the answer."""
    url = f"http://127.0.0.1:{master._port}/change_hook/{path}"
    request = urllib.request.Request(
        url, delivery.body if method == "POST" else None, dict(delivery.headers), method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  our own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def changes(master: Master) -> list[dict[str, Any]]:
    """Give them in the order in which they came; the REST turns it around."""
    return sorted(master.get("changes")["changes"], key=lambda change: int(change["changeid"]))


def named(delivery: Delivery, name: str) -> Delivery:
    return Delivery({**delivery.headers, "x-github-delivery": name}, delivery.body)


def test_a_push_is_one_change_however_often_it_is_delivered(template: Path, tmp_path: Path, operator: Operator) -> None:
    delivery = signed(encoded(push()), "push")
    with listening(template, tmp_path / "master", operator) as master:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: send(master, delivery), range(16))) == {TAKEN}
        (change,) = changes(master)
        assert (change["branch"], change["revision"], change["project"]) == ("topic", SHA, "project")
        told = {name: value for name, (value, _) in change["properties"].items()}
        assert (told["sender"], told["default_branch"], told["kind"]) == ("alice", "main", "branch")
        master.process.kill()
        master.process.wait()
    with listening(template, tmp_path / "master", operator) as master:
        assert send(master, delivery) == TAKEN
        assert len(changes(master)) == 1
        # The same head once more: a branch was set back and forth, which the forge delivers by another name.
        assert send(master, named(delivery, "another")) == TAKEN
        assert send(master, signed(encoded(pull_request()), "pull_request", x_github_delivery="third")) == TAKEN
        assert send(master, signed(encoded(push("refs/tags/v1")), "push", x_github_delivery="fourth")) == TAKEN
        assert send(master, signed(encoded(push(message="[skip ci]")), "push", x_github_delivery="fifth")) == TAKEN
        assert send(master, signed(encoded({"zen": "x"}), "ping", x_github_delivery="sixth")) == TAKEN
        branches = [change["branch"] for change in changes(master)]
        assert branches == ["topic", "topic", "refs/pull/7/head", "refs/tags/v1"]


def test_nothing_is_stored_that_is_not_believed(template: Path, tmp_path: Path, operator: Operator) -> None:
    body = encoded(push())
    good = signed(body, "push")
    unsigned = {name: value for name, value in good.headers.items() if "signature" not in name}
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    refused = {
        "no signature": unsigned,
        "sha-1 only": {**unsigned, "x-hub-signature": "sha1=" + "a" * 40},
        "another secret": signed(body, "push", secret=b"another-secret-here").headers,
        "a form": {**good.headers, "content-type": "application/x-www-form-urlencoded"},
    }
    with listening(template, tmp_path / "master", operator) as master:
        for case, headers in refused.items():
            assert send(master, Delivery(headers, body)) == REFUSED, case
        assert send(master, signed(deep, "push")) == REFUSED
        assert send(master, signed(b'{"a": "' + b" " * MAX_BODY + b'"}', "push")) == REFUSED
        assert send(master, good, method="GET") == REFUSED
        for path in ("github", "github/", "github/other", "github/nowhere", "github/../project", "github/project/x"):
            assert send(master, good, path) == REFUSED, path
        for path in ("", "base", "gitlab/project", "gitea/project"):
            assert send(master, good, path) == REFUSED, path
        others = push(repository={"full_name": "other/project", "default_branch": "main"})
        assert send(master, signed(encoded(others), "push")) == REFUSED
        assert changes(master) == []
        assert "Traceback" not in master.said
        assert send(master, good) == TAKEN
        assert len(changes(master)) == 1


def test_forgejos_hooks_are_heard_and_a_repository_is_live_at_once(
    template: Path, tmp_path: Path, operator: Operator
) -> None:
    others = push(repository={"full_name": "other/project", "default_branch": "main"})
    delivery = signed(json.dumps(others).encode(), "push", names=GITEA)
    with listening(template, tmp_path / "master", operator) as master:
        assert send(master, delivery, "gitea/other") == TAKEN
        assert [change["project"] for change in changes(master)] == ["other"]
        late = push(repository={"full_name": "org/late", "default_branch": "main"})
        assert send(master, signed(encoded(late), "push"), "github/late") == REFUSED
        operator.repository("late", REPOSITORY.replace("org/project", "org/late"))
        assert send(master, signed(encoded(late), "push"), "github/late") == TAKEN
        (operator.repositories / "late.yaml").unlink()
        assert send(master, signed(encoded(late), "push", x_github_delivery="again"), "github/late") == REFUSED
        assert [change["project"] for change in changes(master)] == ["other", "late"]

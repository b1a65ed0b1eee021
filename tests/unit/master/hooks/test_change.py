"""Changes: what Buildbot schedules by fits its tables, and a delivery is found again in Buildbot's own schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from buildbot.db.model import Model

from hermit_master.hooks.change import change_of, is_stored
from hermit_master.hooks.events import PullRequest, Push
from hermit_master.hooks.payload import read_event
from hermit_master.names import Sha, parse_delivery, parse_repository_id
from tests.support.deliveries import DELIVERY, PROJECT, REPOSITORY, SHA, TREE, pull_request, push

DELIVERED = parse_delivery(DELIVERY)


def change(payload: dict[str, Any], event: str = "push") -> dict[str, Any]:
    found = read_event(event, payload, REPOSITORY.project)
    assert isinstance(found, Push | PullRequest)
    return change_of(found, REPOSITORY, DELIVERED)


def test_a_push_is_one_change_about_its_head() -> None:
    assert change(push()) == {
        "author": "Alice <alice@example.org>",
        "comments": "a change",
        "files": [],
        "revision": SHA,
        "branch": "topic",
        "category": "branch",
        "when_timestamp": 1_557_933_641,
        "revlink": f"https://forge.example.org/{PROJECT}/commit/{SHA}",
        "repository": f"https://forge.example.org/{PROJECT}.git",
        "project": "project",
        "properties": {
            "kind": "branch",
            "sender": "alice",
            "default_branch": "main",
            "tree": TREE,
            "delivery": DELIVERY,
        },
    }


def test_tags_and_pull_requests_cannot_be_taken_for_branches() -> None:
    assert change(push("refs/tags/v1"))["branch"] == "refs/tags/v1"
    outside = change(pull_request(), "pull_request")
    assert (outside["branch"], outside["category"]) == ("refs/pull/7/head", "pull request")
    assert outside["properties"] == {
        "kind": "pull request",
        "sender": "stranger",
        "default_branch": "main",
        "tree": "",
        "delivery": DELIVERY,
        "pull_request": "7",
        "base": "main",
    }


def test_a_change_fits_buildbots_columns() -> None:
    long = {**push()["head_commit"], "author": {"name": "n" * 999, "email": "e" * 999}, "url": "https://a/" + "u" * 999}
    made = change(push("refs/heads/" + "b" * 200, head_commit={**long, "message": "m" * 99_999}))
    for name in ("author", "branch", "revision", "revlink", "category", "repository", "project"):
        column = Model.changes.c[name]
        assert len(made[name]) <= column.type.length, name
    nobody = change(push(head_commit=None, sender=None))
    assert nobody["author"] == "unknown"


@pytest.fixture
def connection(tmp_path: Path) -> sa.Connection:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/state.sqlite")
    Model.metadata.create_all(engine)
    return engine.connect()


def store(connection: sa.Connection, number: int, revision: str, properties: dict[str, str]) -> None:
    row = {"author": "a", "comments": "c", "when_timestamp": 1, "repository": "", "codebase": "", "project": "project"}
    connection.execute(Model.changes.insert(), {**row, "changeid": number, "revision": revision, "sourcestampid": 1})
    for name, value in properties.items():
        values = {"changeid": number, "property_name": name, "property_value": json.dumps([value, "Change"])}
        connection.execute(Model.change_properties.insert(), values)


def test_a_delivery_is_found_by_its_change_alone(connection: sa.Connection) -> None:
    stamp = {"id": 1, "ss_hash": "x", "repository": "", "codebase": "", "project": "", "created_at": 1}
    connection.execute(Model.sourcestamps.insert(), stamp)
    commit, other = Sha(SHA), Sha("b" * 40)
    assert not is_stored(connection, REPOSITORY.id, commit, DELIVERED)
    store(connection, 1, commit, {"delivery": "another", "sender": DELIVERY})
    store(connection, 2, other, {"delivery": DELIVERY})
    assert not is_stored(connection, REPOSITORY.id, commit, DELIVERED)
    store(connection, 3, commit, {"sender": "alice", "delivery": DELIVERY})
    assert is_stored(connection, REPOSITORY.id, commit, DELIVERED)
    assert is_stored(connection, REPOSITORY.id, other, DELIVERED)
    assert not is_stored(connection, parse_repository_id("other"), commit, DELIVERED)

"""Turns an event into the one change that Buildbot schedules by, and finds deliveries that became one before."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, text

from hermit_master.hooks.events import PullRequest, Push
from hermit_master.mode import Kind
from hermit_master.names import DeliveryId, RepositoryId, Sha
from hermit_master.settings.repository import Repository

_DELIVERY = "delivery"
# Revisions have an index, properties have none: of a commit there are few changes, whatever else was ever built.
_STORED = text(
    "SELECT property_value FROM change_properties JOIN changes ON changes.changeid = change_properties.changeid"
    " WHERE changes.revision = :revision AND changes.project = :project AND change_properties.property_name = :name"
)


def change_of(event: Push | PullRequest, repository: Repository, delivery: DeliveryId) -> dict[str, Any]:
    """Give what Buildbot's `addChange` takes: one change for a push, of its head, with what the mode is decided by."""
    if isinstance(event, PullRequest):
        kind, ref = Kind.PULL_REQUEST, event.ref
    else:
        kind, ref = event.kind, event.ref if event.kind is Kind.BRANCH else f"refs/tags/{event.ref}"
    commit = event.commit
    properties = {
        "kind": kind.value,
        "sender": event.sender or "",
        "default_branch": event.default,
        "tree": commit.tree or "",
        _DELIVERY: delivery,
    }
    if isinstance(event, PullRequest):
        properties |= {"pull_request": str(event.number), "base": event.base}
    return {
        "author": commit.author or event.sender or "unknown",
        "comments": commit.message,
        "files": [],
        "revision": commit.sha,
        "branch": ref,
        "category": kind.value,
        "when_timestamp": commit.time,
        "revlink": commit.link,
        "repository": repository.url,
        "project": repository.id,
        "properties": properties,
    }


def is_stored(connection: Connection, repository: RepositoryId, revision: Sha, delivery: DeliveryId) -> bool:
    """Tell whether a delivery is a change of this commit already; the change itself is the only mark of it.

    Names of deliveries count within a repository: who has another one's secret could use them up.

    Ask by Buildbot's own database (`master.db.pool.do`): what a crash has lost is no change, and counts when it
    comes again.
    """
    found = connection.execute(_STORED, {"project": repository, "revision": revision, "name": _DELIVERY})
    return any(json.loads(value)[0] == delivery for (value,) in found)

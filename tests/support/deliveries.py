"""Makes deliveries as forges do, signed by a secret, and fetches the examples that GitHub's are documented with."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hermit_master.hooks.delivery import GITHUB, Delivery, Headers
from hermit_master.names import parse_branch, parse_login, parse_project, parse_repository_id
from hermit_master.settings.repository import Forge, Repository
from tests.support.registries import npm_registry

SECRET = b"a-secret-of-the-hook"
DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
PROJECT = "org/project"
SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
TREE = "31b122c26a97cf9af023e9ddab94a82c6e77b0ea"
BEFORE = "0" * 39 + "1"
REPOSITORY = Repository(
    parse_repository_id("project"),
    Path("project.yaml"),
    Forge.GITHUB,
    f"https://forge.example.org/{PROJECT}.git",
    parse_project(PROJECT),
    parse_branch("main"),
    trusted=frozenset({parse_login("alice")}),
)
_EXAMPLES = "@octokit/webhooks-examples@7.6.1"


@dataclass(frozen=True, slots=True)
class Example:
    """Is one documented payload: `source` is the edition of GitHub that sent it."""

    source: str
    event: str
    payload: dict[str, Any]

    @property
    def project(self) -> str:
        """Give the repository that it tells of, or any where it tells of none."""
        repository: dict[str, str] = self.payload.get("repository", {})
        return repository.get("full_name", PROJECT)


def signed(body: bytes, event: str, *, names: Headers = GITHUB, secret: bytes = SECRET, **headers: str) -> Delivery:
    """Give a delivery as a forge sends it; `headers` (with `_` for `-`) stand before those that it has."""
    digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
    sent = {
        "content-type": "application/json",
        names.event: event,
        names.delivery: DELIVERY,
        names.signature: names.prefix + digest,
    }
    return Delivery(sent | {name.replace("_", "-"): value for name, value in headers.items()}, body)


def push(ref: str = "refs/heads/topic", *, message: str = "a change", **changed: Any) -> dict[str, Any]:
    """Give the payload of a push of one commit to a branch, as GitHub and Gitea have it in common."""
    commit = {
        "id": SHA,
        "tree_id": TREE,
        "message": message,
        "timestamp": "2019-05-15T15:20:41Z",
        "url": f"https://forge.example.org/{PROJECT}/commit/{SHA}",
        "author": {"name": "Alice", "email": "alice@example.org", "username": "alice"},
        "committer": {"name": "Alice", "email": "alice@example.org", "username": "alice"},
        "added": ["a"],
        "removed": [],
        "modified": [],
    }
    return {
        "ref": ref,
        "before": BEFORE,
        "after": SHA,
        "deleted": False,
        "commits": [{**commit, "id": BEFORE, "message": "an earlier one"}, commit],
        "head_commit": commit,
        "repository": {"full_name": PROJECT, "default_branch": "main", "name": "project"},
        "pusher": {"name": "somebody-else", "email": "b@example.org"},
        "sender": {"login": "Alice"},
        **changed,
    }


def pull_request(head: str | None = "stranger/project", *, action: str = "opened", **changed: Any) -> dict[str, Any]:
    """Give the payload of a pull request; `head` is the repository that it comes from, None where that is deleted."""
    return {
        "action": action,
        "number": 7,
        "pull_request": {
            "title": "a proposal",
            "html_url": f"https://forge.example.org/{PROJECT}/pull/7",
            "updated_at": "2019-05-15T15:20:33Z",
            "head": {"ref": "main", "sha": SHA, "repo": None if head is None else {"full_name": head}},
            "base": {"ref": "main", "sha": BEFORE, "repo": {"full_name": PROJECT}},
        },
        "repository": {"full_name": PROJECT, "default_branch": "main"},
        "sender": {"login": "stranger"},
        **changed,
    }


def encoded(payload: Any) -> bytes:
    """Give a payload as forges encode it."""
    return json.dumps(payload).encode()


@cache
def examples() -> tuple[Example, ...]:
    """Fetch the examples by npm from the registry that it is set up for; skip where that is out of reach."""
    npm_registry()
    with TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", _EXAMPLES]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm does not give {_EXAMPLES}: {done.stderr.strip()[-200:]}")
        return tuple(_unpacked(next(Path(folder).glob("*.tgz"))))


def _unpacked(archive: Path) -> Iterator[Example]:
    with tarfile.open(archive) as packed:
        for member in packed:
            if member.name.endswith("/index.json") and (file := packed.extractfile(member)) is not None:
                for event in json.load(file):
                    source = member.name.split("/")[1]
                    yield from (Example(source, event["name"], payload) for payload in event["examples"])

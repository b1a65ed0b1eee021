"""From what a forge told to a mode: forged authors, bots that push for others, default branches that were renamed."""

from __future__ import annotations

from typing import Any

import pytest

from hermit_master.hooks.events import Ignored
from hermit_master.hooks.payload import read_event
from hermit_master.judging import facts_of, is_trusted
from hermit_master.mode import Cause, decide
from hermit_master.names import parse_login
from hermit_proxy.policy import Mode
from tests.support.deliveries import PROJECT, REPOSITORY, pull_request, push

HERMIT = {"login": "hermit[bot]"}
FORGED = {**push()["head_commit"], "author": {"name": "Hermit CI", "email": "hermit@localhost"}}


def mode(payload: dict[str, Any], *, own: bool = False, event: str = "push") -> Mode:
    found = read_event(event, payload, REPOSITORY.project)
    assert not isinstance(found, Ignored)
    return decide(facts_of(found, REPOSITORY, own=own)).mode


@pytest.mark.parametrize(
    ("payload", "own", "expected"),
    [
        (push(), False, Mode.RECORD),
        (push(), True, Mode.HERMETIC),
        (push(sender=HERMIT), True, Mode.HERMETIC),
        # The bot's account pushed what the table does not know: other people's commits.
        (push(sender=HERMIT), False, Mode.RECORD),
        # An author as Hermit's commits have it is free text.
        (push(head_commit=FORGED), False, Mode.RECORD),
        (push(message="Record the network of 0123456"), False, Mode.RECORD),
        (push("refs/heads/hermit/record/main"), False, Mode.RECORD),
        (push("refs/heads/main"), False, Mode.HERMETIC),
        (push("refs/heads/main", sender=HERMIT), True, Mode.HERMETIC),
        # The forge calls another branch its default one than the settings do: both are.
        (push("refs/heads/main", repository={"full_name": PROJECT, "default_branch": "trunk"}), False, Mode.HERMETIC),
        (push("refs/heads/trunk", repository={"full_name": PROJECT, "default_branch": "trunk"}), False, Mode.HERMETIC),
        (push("refs/tags/main"), False, Mode.HERMETIC),
        (push("refs/heads/Main"), False, Mode.RECORD),
    ],
)
def test_only_refs_and_the_table_decide(payload: dict[str, Any], own: bool, expected: Mode) -> None:
    assert mode(payload, own=own) is expected


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("sender", ["alice", "stranger", "hermit[bot]"])
def test_what_comes_from_outside_is_hermetic_whoever_sends_it(own: bool, sender: str) -> None:
    assert mode(pull_request(sender={"login": sender}), own=own, event="pull_request") is Mode.HERMETIC


def test_a_tag_is_no_default_branch_whatever_its_name() -> None:
    event = read_event("push", push("refs/tags/main"), REPOSITORY.project)
    assert not isinstance(event, Ignored)
    assert not facts_of(event, REPOSITORY, own=False).default
    assert facts_of(event, REPOSITORY, own=False, cause=Cause.POLL).cause is Cause.POLL


def test_whom_the_operator_names_is_trusted_and_nobody_else() -> None:
    assert is_trusted(parse_login("Alice"), REPOSITORY)
    assert not is_trusted(parse_login("stranger"), REPOSITORY)
    assert not is_trusted(None, REPOSITORY)

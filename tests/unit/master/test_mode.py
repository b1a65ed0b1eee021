"""The table of what is recorded and what is hermetic, where a snapshot goes, and what a build may have."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import pytest

from hermit_master.mode import Cause, Decision, Destination, Facts, Kind, Reason, decide, rights
from hermit_proxy.policy import Mode

HOOK, POLL, REBUILD = Cause.HOOK, Cause.POLL, Cause.REBUILD
RECORD, HERMETIC = Mode.RECORD, Mode.HERMETIC
BRANCH, TAG, PULL = Kind.BRANCH, Kind.TAG, Kind.PULL_REQUEST
ON_BRANCH, BY_REQUEST, NOWHERE = Destination.BRANCH, Destination.PULL_REQUEST, Destination.NOWHERE

CASES: dict[str, tuple[Facts, Decision]] = {
    "a push to a branch": (Facts(BRANCH, HOOK), Decision(RECORD, Reason.BRANCH, ON_BRANCH)),
    "the same, found by the poller": (Facts(BRANCH, POLL), Decision(RECORD, Reason.BRANCH, ON_BRANCH)),
    "a push to the default branch": (Facts(BRANCH, HOOK, default=True), Decision(HERMETIC, Reason.DEFAULT)),
    "the default branch, found by the poller": (Facts(BRANCH, POLL, default=True), Decision(HERMETIC, Reason.DEFAULT)),
    "Hermit's own commit": (Facts(BRANCH, HOOK, own=True), Decision(HERMETIC, Reason.OWN)),
    "Hermit's own commit, found by the poller": (Facts(BRANCH, POLL, own=True), Decision(HERMETIC, Reason.OWN)),
    "Hermit's commit, merged to the default branch": (
        Facts(BRANCH, HOOK, default=True, own=True),
        Decision(HERMETIC, Reason.DEFAULT),
    ),
    "a bot's push on top of which somebody's commit lies": (
        Facts(BRANCH, HOOK, own=False),
        Decision(RECORD, Reason.BRANCH, ON_BRANCH),
    ),
    "a tag": (Facts(TAG, HOOK), Decision(HERMETIC, Reason.TAG)),
    "a tag on Hermit's own commit": (Facts(TAG, HOOK, own=True), Decision(HERMETIC, Reason.TAG)),
    "a tag that a maintainer wants recorded": (Facts(TAG, Cause.FORCE_RECORD), Decision(HERMETIC, Reason.TAG)),
    "a fork's pull request": (Facts(PULL, HOOK, outside=True), Decision(HERMETIC, Reason.OUTSIDE)),
    "a pull request nobody knows the side of": (Facts(PULL, HOOK), Decision(HERMETIC, Reason.OUTSIDE)),
    "a fork's branch that is named as the default one": (
        Facts(PULL, HOOK, outside=True, default=True),
        Decision(HERMETIC, Reason.OUTSIDE),
    ),
    "a fork's pull request that a maintainer wants recorded": (
        Facts(PULL, Cause.FORCE_RECORD, outside=True),
        Decision(RECORD, Reason.ASKED, NOWHERE),
    ),
    "the nightly rebuild": (Facts(BRANCH, REBUILD, default=True), Decision(RECORD, Reason.REBUILD, BY_REQUEST)),
    "the nightly rebuild of Hermit's merged commit": (
        Facts(BRANCH, REBUILD, default=True, own=True),
        Decision(RECORD, Reason.REBUILD, BY_REQUEST),
    ),
    "the nightly rebuild where branches are not recorded": (
        Facts(BRANCH, REBUILD, default=True, records=False),
        Decision(RECORD, Reason.REBUILD, BY_REQUEST),
    ),
    "a rebuild of a fork": (
        Facts(BRANCH, REBUILD, default=True, outside=True),
        Decision(HERMETIC, Reason.OUTSIDE),
    ),
    "a rebuild of Hermit's own commit on a branch": (
        Facts(BRANCH, REBUILD, own=True),
        Decision(HERMETIC, Reason.OWN),
    ),
    "a repository whose branches are not recorded": (
        Facts(BRANCH, HOOK, records=False),
        Decision(HERMETIC, Reason.SETTING),
    ),
    "a maintainer has a branch recorded": (
        Facts(BRANCH, Cause.FORCE_RECORD, records=False),
        Decision(RECORD, Reason.ASKED, ON_BRANCH),
    ),
    "a maintainer has Hermit's own commit recorded again": (
        Facts(BRANCH, Cause.FORCE_RECORD, own=True),
        Decision(RECORD, Reason.ASKED, ON_BRANCH),
    ),
    "a maintainer has the default branch recorded": (
        Facts(BRANCH, Cause.FORCE_RECORD, default=True),
        Decision(RECORD, Reason.ASKED, BY_REQUEST),
    ),
    "a maintainer has a branch built hermetically": (
        Facts(BRANCH, Cause.FORCE_HERMETIC),
        Decision(HERMETIC, Reason.ASKED),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_its_mode(case: str) -> None:
    facts, expected = CASES[case]
    assert decide(facts) == expected


def all_facts() -> list[Facts]:
    return [
        Facts(kind, cause, *flags) for kind in Kind for cause in Cause for flags in product((False, True), repeat=4)
    ]


def test_who_wrote_what_is_not_asked() -> None:
    """A forged author, a bot's account or a message has no way in."""
    assert {field.name for field in fields(Facts)} == {"kind", "cause", "default", "outside", "own", "records"}


@pytest.mark.parametrize("facts", all_facts(), ids=repr)
def test_what_must_hold_of_every_case_holds(facts: Facts) -> None:
    decision = decide(facts)
    asked = facts.cause is Cause.FORCE_RECORD
    if decision.mode is HERMETIC:
        assert decision.destination is NOWHERE, "a hermetic build writes no snapshot"
    else:
        assert facts.kind is not TAG
        assert asked or not (facts.outside or facts.kind is PULL), "a stranger's commit is recorded by request only"
        assert asked or facts.cause is REBUILD or not (facts.default or facts.own)
    if facts.default or facts.outside:
        assert decision.destination is not ON_BRANCH, "never a commit to the default branch or a fork's"
    if facts.outside:
        assert decision.destination is NOWHERE


@pytest.mark.parametrize(
    ("facts", "mode", "trusted", "when_recording", "own_rules", "secrets"),
    [
        (Facts(BRANCH, HOOK), HERMETIC, True, False, True, True),
        (Facts(BRANCH, HOOK), RECORD, True, False, True, False),
        (Facts(BRANCH, HOOK), RECORD, True, True, True, True),
        (Facts(BRANCH, HOOK), RECORD, False, True, False, False),
        (Facts(BRANCH, HOOK, own=True), HERMETIC, True, False, True, True),
        (Facts(BRANCH, HOOK, own=True), HERMETIC, False, False, False, False),
        (Facts(BRANCH, HOOK, default=True), HERMETIC, True, False, True, True),
        (Facts(BRANCH, HOOK, default=True), HERMETIC, False, False, True, False),
        (Facts(BRANCH, POLL, default=True), HERMETIC, True, True, True, False),
        (Facts(BRANCH, POLL), RECORD, True, True, False, False),
        (Facts(BRANCH, REBUILD, default=True), RECORD, False, False, True, False),
        (Facts(BRANCH, Cause.FORCE_HERMETIC), HERMETIC, False, False, False, False),
        (Facts(TAG, HOOK), HERMETIC, True, False, True, True),
        (Facts(PULL, HOOK, outside=True), HERMETIC, True, True, False, False),
        (Facts(PULL, HOOK), HERMETIC, True, True, False, False),
        (Facts(PULL, Cause.FORCE_RECORD, outside=True, default=True), RECORD, True, True, False, False),
    ],
    ids=str,
)
def test_what_a_build_may_have(  # noqa: PLR0917  the columns of a table
    facts: Facts, mode: Mode, trusted: bool, when_recording: bool, own_rules: bool, secrets: bool
) -> None:
    found = rights(facts, mode, trusted=trusted, secrets_when_recording=when_recording)
    assert (found.own_rules, found.secrets) == (own_rules, secrets)

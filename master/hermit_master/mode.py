"""Decides how a commit is built: recorded or hermetic, where a snapshot goes, whose rules, with secrets or without."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hermit_proxy.policy import Mode


class Kind(Enum):
    """Is what a commit was seen at."""

    BRANCH = "branch"
    TAG = "tag"
    PULL_REQUEST = "pull request"


class Cause(Enum):
    """Is why there is a build: somebody pushed (told by a hook or found by polling), or it was asked for.

    A REBUILD is nightly, or follows a build of the default branch that missed something. FORCE_RECORD and
    FORCE_HERMETIC are a maintainer's buttons.
    """

    HOOK = "hook"
    POLL = "poll"
    REBUILD = "rebuild"
    FORCE_RECORD = "force record"
    FORCE_HERMETIC = "force hermetic"


class Destination(Enum):
    """Is where a snapshot goes that differs from the recorded commit's."""

    BRANCH = "a commit on the branch"
    PULL_REQUEST = "a pull request to the default branch"
    NOWHERE = "nowhere; what was observed stays in the store"


class Reason(Enum):
    """Is why a build has its mode, in words for its page."""

    DEFAULT = "the default branch is built from its snapshot"
    TAG = "a tag is built from its snapshot: there is no branch to record to"
    OUTSIDE = "it comes from outside of the repository"
    OWN = "Hermit wrote this commit"
    SETTING = "this repository's branches are not recorded"
    ASKED = "a maintainer asked for it"
    REBUILD = "the default branch is recorded anew"
    BRANCH = "a branch is recorded"


@dataclass(frozen=True, slots=True)
class Facts:
    """Is all that decides. Names of authors, senders and branches and words of messages are not among it.

    `default` tells that the branch is the default one, as the settings or the forge have it. `outside` tells of a fork,
    or of a pull request whose head lies in another repository. `own` tells that the commit stands in the table of
    Hermit's commits. `records` is the repository's setting.
    """

    kind: Kind
    cause: Cause
    default: bool = False
    outside: bool = False
    own: bool = False
    records: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """Is how a commit is built, and why."""

    mode: Mode
    reason: Reason
    destination: Destination = Destination.NOWHERE


def decide(facts: Facts) -> Decision:  # noqa: PLR0911  it is a table: the first line that fits decides
    """Decide about one commit; what nothing speaks for is hermetic."""
    if facts.cause is Cause.FORCE_HERMETIC:
        return Decision(Mode.HERMETIC, Reason.ASKED)
    if facts.kind is Kind.TAG:
        return Decision(Mode.HERMETIC, Reason.TAG)
    if facts.cause is Cause.FORCE_RECORD:
        return Decision(Mode.RECORD, Reason.ASKED, _destination(facts))
    if facts.outside or facts.kind is Kind.PULL_REQUEST:
        return Decision(Mode.HERMETIC, Reason.OUTSIDE)
    if facts.cause is Cause.REBUILD and facts.default:
        return Decision(Mode.RECORD, Reason.REBUILD, Destination.PULL_REQUEST)
    if facts.default:
        return Decision(Mode.HERMETIC, Reason.DEFAULT)
    if facts.own:
        return Decision(Mode.HERMETIC, Reason.OWN)
    if not facts.records:
        return Decision(Mode.HERMETIC, Reason.SETTING)
    return Decision(Mode.RECORD, Reason.BRANCH, Destination.BRANCH)


def _destination(facts: Facts) -> Destination:
    if facts.outside or facts.kind is not Kind.BRANCH:
        return Destination.NOWHERE
    return Destination.PULL_REQUEST if facts.default else Destination.BRANCH


@dataclass(frozen=True, slots=True)
class Rights:
    """Is what a build may have: `own_rules` tells that its branch's rules count, not only the default branch's."""

    own_rules: bool
    secrets: bool


def rights(facts: Facts, mode: Mode, *, trusted: bool, secrets_when_recording: bool) -> Rights:
    """Say what a build may have.

    `trusted` is about whom the forge names as sender of the commit, never about who presses a button; for a commit of
    Hermit's own, about the sender of the commit that it recorded. A poller knows of no sender, and nothing from outside
    is trusted, whoever sends it.
    """
    outside = facts.outside or facts.kind is Kind.PULL_REQUEST
    known = trusted and not outside and facts.cause is not Cause.POLL
    return Rights(
        own_rules=known or (facts.default and not outside),
        secrets=known and (mode is Mode.HERMETIC or secrets_when_recording),
    )

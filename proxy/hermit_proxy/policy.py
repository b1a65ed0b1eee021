"""Decides what happens to a request: the one function that both recorder and replayer ask."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from hermit_proxy.request.key import Request
from hermit_proxy.rules.file import Action, Rule, Rules
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot


class Mode(Enum):
    """Is what a build may do: record what the rules admit, or replay the snapshot and nothing else."""

    RECORD = "record"
    HERMETIC = "hermetic"


class Reason(Enum):
    """Is why a request was refused; the log, the report and the exit code go by it."""

    REJECTED = "a rule rejects it"
    NO_RULE = "no rule admits it"
    NOT_RECORDED = "the snapshot does not have it"
    UNOBSERVED = "the snapshot has it, but nobody observed that answer"
    STEP_OFFLINE = "this step has no network"
    AMBIGUOUS = "the rules disagree about its encoded slashes"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answers the request with 403 and says why. `broken` is False for a refusal that the project asked for."""

    reason: Reason
    rule: Rule | None = None

    @property
    def broken(self) -> bool:
        """Tell whether the build wanted something that it may not have (exit code 3)."""
        return self.reason is not Reason.REJECTED


@dataclass(frozen=True, slots=True)
class Replay:
    """Answers the request from the snapshot and the store."""

    entry: Entry
    rule: Rule


@dataclass(frozen=True, slots=True)
class Fetch:
    """Asks upstream; `keep` is False where nothing of the answer is stored (NO_STORE).

    `known` is the entry that the snapshot already has for this request, if any.
    """

    rule: Rule
    key_url: str
    keep: bool
    known: Entry | None


Decision = Refuse | Replay | Fetch


class Evidence(Protocol):
    """Knows what was observed: the store, seen by one pool."""

    def observed(self, entry: Entry) -> bool:
        """Tell whether a recorder saw exactly this answer to exactly this request."""
        ...

    def has_body(self, entry: Entry) -> bool:
        """Tell whether the store holds the body that an entry names (True where it names none)."""
        ...


def decide(  # noqa: PLR0911, PLR0913  one return for each outcome, one argument for each thing that decides
    request: Request,
    rules: Rules,
    snapshot: Snapshot,
    evidence: Evidence,
    mode: Mode,
    *,
    online: bool = True,
    refresh: bool = False,
    fresh: Container[str] = (),
) -> Decision:
    """Decide by the first matching rule; everything that is not admitted is refused.

    With `refresh`, ALLOW replays only what this very run has recorded: the entries whose ids are in `fresh`.
    """
    rule = rules.match(request.method, request.target)
    if rule is not rules.match_decoded(request.method, request.target):
        return Refuse(Reason.AMBIGUOUS)
    if rule is not None and rule.action is Action.REJECT:
        return Refuse(Reason.REJECTED, rule)  # an expected answer, in a step without network as well
    if not online:
        return Refuse(Reason.STEP_OFFLINE, rule)
    if rule is None:
        return Refuse(Reason.NO_RULE)
    key_url = rule.key_url(request.target)
    closed = mode is Mode.HERMETIC or rule.action is Action.LOCKED
    entry = snapshot.find(request, key_url, negotiate=closed)
    usable = entry is not None and evidence.observed(entry)
    if closed:
        if entry is None:
            return Refuse(Reason.NOT_RECORDED, rule)
        return Replay(entry, rule) if usable else Refuse(Reason.UNOBSERVED, rule)
    wanted = rule.action is Action.ALLOW and entry is not None and (not refresh or entry.id in fresh)
    if wanted and entry is not None and usable and _final(entry) and evidence.has_body(entry):
        return Replay(entry, rule)
    return Fetch(rule, key_url, keep=rule.action is not Action.NO_STORE, known=entry)


def _final(entry: Entry) -> bool:
    # A recorded challenge would send the client for a stand-in token that the real registry then refuses.
    return entry.stand_in is None and entry.status not in {401, 403}

"""Makes the next snapshot from the last one and the log of a successful run: what was used stays, the rest goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot

_OK = 200
_UNAUTHORIZED = 401
# They change with the mirror that answers, and mean nothing without the body.
_VALIDATORS = frozenset({"etag", "last-modified"})

_Identity = tuple[tuple[str, str, str | None], tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Is one request that got several different answers in one build; the last of `answers` was kept."""

    method: str
    url: str
    answers: tuple[Entry, ...]

    def __str__(self) -> str:
        """Tell it in one line."""
        told = ", ".join(f"{a.status} {(a.sha256 or 'without a body')[:14]}" for a in self.answers)
        return f"{self.method} {self.url} was answered in {len(self.answers)} ways: {told}"


@dataclass(frozen=True, slots=True)
class Update:
    """Is the next snapshot and how it differs from the last.

    `added` has entries for new requests, `changed` pairs of old and new answer to one request, `pruned` the entries
    that this run did not use, `confirmed` those that stay byte for byte. All are in the order of the files.
    """

    snapshot: Snapshot
    conflicts: tuple[Conflict, ...]
    added: tuple[Entry, ...]
    changed: tuple[tuple[Entry, Entry], ...]
    pruned: tuple[Entry, ...]
    confirmed: tuple[Entry, ...]


def _nothing_known(_entry: Entry) -> bool:
    return False


def _nothing_same(_old: Entry, _new: Entry) -> bool:
    return False


def updated(
    old: Snapshot,
    events: Iterable[RequestEvent],
    *,
    keep_unused: bool = False,
    same_content: Callable[[Entry, Entry], bool] = _nothing_same,
    observed: Callable[[Entry], bool] = _nothing_known,
) -> Update:
    """Give the next snapshot.

    `observed` tells whether the store holds an observation of an old entry. Only then may the old one stand in for a
    new one of the same content (same digest but another ETag, or `same_content` where digests differ: a
    git pack in other packets); a new entry that was seen in this run replaces an old one that nobody vouches for.
    """
    by_id = {entry.id: entry for entry in old}
    used: set[str] = set()
    answers: dict[_Identity, list[Entry]] = defaultdict(list)
    for event in events:
        if event.outcome is Outcome.RECORDED and event.entry is not None:
            _hear(answers[event.entry.key, event.entry.vary], event.entry)
        elif event.outcome is Outcome.REPLAYED and event.entry_id in by_id:
            used.add(event.entry_id)
    fresh = [said[-1] for said in answers.values()]
    conflicts = [_conflict(said) for said in answers.values()]
    kept = [entry for entry_id, entry in by_id.items() if keep_unused or entry_id in used]
    following = Snapshot(kept)
    for entry in fresh:
        following.add(_choose(entry, old, same_content, observed))
    return _compare(old, _pruned(following), tuple(c for c in conflicts if c is not None))


def _hear(said: list[Entry], entry: Entry) -> None:
    """Put the answer last among those to one request; a challenge never stands behind a better one."""
    if entry in said:
        said.remove(entry)
    if entry.status == _UNAUTHORIZED and any(answer.status != _UNAUTHORIZED for answer in said):
        said.insert(0, entry)
    else:
        said.append(entry)


def _conflict(said: list[Entry]) -> Conflict | None:
    told = [answer for answer in said if answer.status != _UNAUTHORIZED]
    different = {(answer.status, answer.sha256, answer.header("location"), answer.stand_in) for answer in told}
    return Conflict(told[0].method, told[0].url, tuple(told)) if len(different) > 1 else None


def _choose(
    entry: Entry, old: Snapshot, same_content: Callable[[Entry, Entry], bool], observed: Callable[[Entry], bool]
) -> Entry:
    known = next((e for e in old.variants(*entry.key) if e.vary == entry.vary), None)
    if known is None or known == entry or not _same_meaning(known, entry):
        return entry
    same = known.sha256 == entry.sha256 or (
        known.sha256 is not None and entry.sha256 is not None and same_content(known, entry)
    )
    return known if same and observed(known) else entry


def _same_meaning(one: Entry, other: Entry) -> bool:
    return (one.status, one.stand_in, _meaning(one)) == (other.status, other.stand_in, _meaning(other))


def _meaning(entry: Entry) -> list[tuple[str, str]]:
    return [pair for pair in entry.headers if pair[0] not in _VALIDATORS]


def _pruned(snapshot: Snapshot) -> Snapshot:
    """Leave out what another entry answers: a HEAD beside its GET, a challenge beside the answer behind it."""
    return Snapshot(
        entry
        for entry in snapshot
        if not (_is_answered_by_get(entry, snapshot) or _is_passed_challenge(entry, snapshot))
    )


def _is_answered_by_get(entry: Entry, snapshot: Snapshot) -> bool:
    return (
        entry.method == "HEAD"
        and entry.status == _OK
        and any(
            get.status == _OK and get.vary == entry.vary and entry.size in {None, get.size}
            for get in snapshot.variants("GET", entry.url)
        )
    )


def _is_passed_challenge(entry: Entry, snapshot: Snapshot) -> bool:
    return entry.status == _UNAUTHORIZED and any(e.status != _UNAUTHORIZED for e in snapshot.variants(*entry.key))


def _compare(old: Snapshot, new: Snapshot, conflicts: tuple[Conflict, ...]) -> Update:
    before: dict[_Identity, Entry] = {(entry.key, entry.vary): entry for entry in old}
    after: dict[_Identity, Entry] = {(entry.key, entry.vary): entry for entry in new}
    return Update(
        snapshot=new,
        conflicts=conflicts,
        added=tuple(entry for identity, entry in after.items() if identity not in before),
        changed=tuple((before[i], e) for i, e in after.items() if i in before and before[i] != e),
        pruned=tuple(entry for identity, entry in before.items() if identity not in after),
        confirmed=tuple(entry for identity, entry in after.items() if before.get(identity) == entry),
    )

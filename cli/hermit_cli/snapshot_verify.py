"""Is `hermit snapshot verify`: whether a hermetic run could answer from this record, and what it could not."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from hermit_cli.output import bytes_as_text, print_json
from hermit_cli.place import Place, find_place
from hermit_cli.snapshot_show import size_of
from hermit_cli.table import aligned, counted, tell
from hermit_proxy.errors import ExitCode
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_tree
from hermit_proxy.store.body import BodyCorruptError, BodyMissingError, Store
from hermit_proxy.store.evidence import PoolEvidence


@dataclass(frozen=True, slots=True)
class Verdict:
    """Is one entry that cannot be replayed, and why."""

    entry: Entry
    problem: str


def main(args: argparse.Namespace) -> int:
    """Check everything; exit code 2 for mistakes in files, 3 for entries that are not to be trusted or not there."""
    place = find_place(args.snapshot)
    snapshot = read_tree(place.network)
    with place.store() as store:
        verdicts = verdicts_on(snapshot, store, place)
    if args.json:
        print_json(_data(place, snapshot, verdicts))
    else:
        _tell(place, snapshot, verdicts)
    return int(ExitCode.NOT_HERMETIC if verdicts else ExitCode.DONE)


def verdicts_on(snapshot: Snapshot, store: Store, place: Place) -> list[Verdict]:
    """Name each entry that nobody observed, or whose body is missing or not what the entry says."""
    evidence = PoolEvidence(store, place.pool, place.settings.observers)
    bodies: dict[tuple[str, int | None], str | None] = {}
    found: list[Verdict] = []
    for entry in snapshot:
        if not evidence.observed(entry):
            found.append(Verdict(entry, _unobserved(entry, store, place)))
        elif entry.sha256 is not None:
            body = (entry.sha256, entry.size)
            if body not in bodies:
                bodies[body] = _body_problem(store, entry.sha256, entry.size)
            if problem := bodies[body]:
                found.append(Verdict(entry, problem))
    return found


def _unobserved(entry: Entry, store: Store, place: Place) -> str:
    seen = len({observation.observer for observation in store.observations(place.pool, entry.id)})
    if seen:
        return f"observed by {seen} of the {place.settings.observers} that the settings ask for"
    return "nobody observed this answer"


def _body_problem(store: Store, sha256: str, size: int | None) -> str | None:
    try:
        store.check(sha256)
        with store.open_body(sha256) as file:
            there = file.seek(0, 2)
    except BodyMissingError:
        return "its body is not in the store"
    except BodyCorruptError:
        return "its body in the store was corrupt, and has been put aside"
    return None if there == size else f"its body has {counted(there, 'byte')}, not the {size} that the entry says"


def _tell(place: Place, snapshot: Snapshot, verdicts: list[Verdict]) -> None:
    total = len(snapshot)
    if not total:
        tell("\n".join(place.told_of_no_entry()))
        return
    if not verdicts:
        size = bytes_as_text(size_of(list(snapshot)))
        tell(f"{place.network}: {counted(total, 'entry')}, all observed, all bodies right ({size})")
        return
    tell(f"{place.network}: {len(verdicts)} of {counted(total, 'entry')} cannot be replayed")
    tell()
    tell("\n".join(aligned([(v.entry.method, v.entry.url, v.problem) for v in verdicts])))
    tell()
    tell(f"next: {_HINT}")


_HINT = "hermit store fill fetches them and compares; what changed upstream needs a new recording"


def _data(place: Place, snapshot: Snapshot, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "snapshot": str(place.network),
        "pool": place.pool,
        "entries": len(snapshot),
        "good": len(snapshot) - len(verdicts),
        "bad": [
            {"id": v.entry.id, "method": v.entry.method, "url": v.entry.url, "problem": v.problem} for v in verdicts
        ],
    }

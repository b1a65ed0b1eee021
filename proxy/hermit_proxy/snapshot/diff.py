"""Tells two snapshots apart as a reviewer needs it: what is alarming first, what is routine last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hermit_proxy.snapshot import check
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.packages import Package, package_of

_Identity = tuple[str, str, str | None, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Change:
    """Is one request whose answer differs; the URLs differ in the scheme at most."""

    old: Entry
    new: Entry


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Is a version of a package that the old snapshot knew in others only; `known` lists those."""

    package: Package
    known: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True, slots=True)
class Difference:
    """Is all that differs between two snapshots, in the order of the files.

    `new_hosts` and `gone_hosts` name hosts with their port; `changed` has the alarm: another answer (digest, status or
    redirect) under an unchanged URL. `new_variants` are those of `added` that give a request which was known another
    answer beside the one it had; `new_versions` are those that deliver a package known in other versions. `headers`
    has answers of the same content with other headers.
    """

    new_hosts: tuple[str, ...]
    gone_hosts: tuple[str, ...]
    changed: tuple[Change, ...]
    new_variants: tuple[Entry, ...]
    new_versions: tuple[NewVersion, ...]
    headers: tuple[Change, ...]
    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]

    def __bool__(self) -> bool:
        """Tell whether anything differs."""
        return any((self.new_hosts, self.gone_hosts, self.changed, self.headers, self.added, self.removed))


def diff(old: Snapshot, new: Snapshot) -> Difference:
    """Compare two snapshots.

    Entries of the first Hermit, which stand there for both schemes, count once.
    """
    before, after = _once(old, new), _once(new, old)
    pairs, removed, added = _paired(before, after)
    old_hosts, new_hosts = _hosts(before.values()), _hosts(after.values())
    return Difference(
        new_hosts=tuple(sorted(new_hosts - old_hosts)),
        gone_hosts=tuple(sorted(old_hosts - new_hosts)),
        changed=tuple(pair for pair in pairs if _content(pair.old) != _content(pair.new)),
        new_variants=_new_variants(before.values(), added),
        new_versions=_new_versions(before.values(), added),
        headers=tuple(pair for pair in pairs if _content(pair.old) == _content(pair.new)),
        added=tuple(added),
        removed=tuple(removed),
    )


def _identity(entry: Entry) -> _Identity:
    return entry.method, entry.url, entry.body, entry.vary


def _content(entry: Entry) -> tuple[int, str | None, str | None, str | None]:
    return entry.status, entry.sha256, entry.header("location"), entry.stand_in


def _other_scheme(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{'http' if scheme == 'https' else 'https'}{separator}{rest}"


def _once(snapshot: Snapshot, other: Snapshot) -> dict[_Identity, Entry]:
    """Give the entries by identity, of two that differ in the scheme alone only the one that `other` has as well."""
    entries = {_identity(entry): entry for entry in snapshot}
    plain = [(identity, entry) for identity, entry in entries.items() if entry.url.startswith("http://")]
    elsewhere = {_identity(entry) for entry in other.unordered()} if plain else set()
    for identity, entry in plain:
        twin = replace(entry, url=_other_scheme(entry.url))
        if entries.get(_identity(twin)) != twin:
            continue
        only_plain = identity in elsewhere and _identity(twin) not in elsewhere
        del entries[_identity(twin) if only_plain else identity]
    return entries


def _paired(
    before: dict[_Identity, Entry], after: dict[_Identity, Entry]
) -> tuple[list[Change], list[Entry], list[Entry]]:
    """Give the pairs that differ, what is only in `before` and what is only in `after`."""
    pairs = [Change(entry, after[i]) for i, entry in before.items() if i in after and after[i] != entry]
    removed = {i: entry for i, entry in before.items() if i not in after}
    added = {i: entry for i, entry in after.items() if i not in before}
    # A new way of asking, or another scheme, must not hide that the answer under a URL is another one.
    for loosely in (_without_vary, _without_vary_and_scheme):
        left: dict[tuple[str, str, str | None], list[Entry]] = defaultdict(list)
        for entry in removed.values():
            left[loosely(entry)].append(entry)
        for identity, entry in list(added.items()):
            if candidates := left.get(loosely(entry)):
                partner = next((e for e in candidates if _content(e) == _content(entry)), candidates[0])
                candidates.remove(partner)
                del added[identity], removed[_identity(partner)]
                pairs.append(Change(partner, entry))
    pairs.sort(key=lambda pair: pair.new.sort_key)
    return pairs, list(removed.values()), list(added.values())


def _without_vary(entry: Entry) -> tuple[str, str, str | None]:
    return entry.key


def _without_vary_and_scheme(entry: Entry) -> tuple[str, str, str | None]:
    return entry.method, entry.url.partition("://")[2], entry.body


def _hosts(entries: Iterable[Entry]) -> set[str]:
    return {check.file_name_of(entry.url).removesuffix(".yaml") for entry in entries}


def _new_variants(before: Iterable[Entry], added: Iterable[Entry]) -> tuple[Entry, ...]:
    known: dict[tuple[str, str, str | None], set[object]] = defaultdict(set)
    for entry in before:
        known[entry.key].add(_content(entry))
    return tuple(entry for entry in added if entry.key in known and _content(entry) not in known[entry.key])


def _new_versions(before: Iterable[Entry], added: Iterable[Entry]) -> tuple[NewVersion, ...]:
    fresh = [(entry, package) for entry in added if (package := package_of(entry.url))]
    known: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in before if fresh else ():
        if package := package_of(entry.url):
            known[package.kind, package.name].add(package.version)
    found: list[NewVersion] = []
    for entry, package in fresh:
        versions = known.get((package.kind, package.name))
        if versions and package.version not in versions:
            found.append(NewVersion(package, tuple(sorted(versions)), entry))
    return tuple(found)

"""Is `hermit snapshot show`: what is in the record, by host, or entry by entry for one host."""

from __future__ import annotations

import argparse
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from hermit_cli.output import bytes_as_text, print_json
from hermit_cli.place import find_place
from hermit_cli.table import aligned, counted, tell
from hermit_proxy.errors import ExitCode, UsageError
from hermit_proxy.request.target import parse_url
from hermit_proxy.snapshot import recorded, report
from hermit_proxy.snapshot.check import file_name_of
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.tree import read_tree

_DIGEST_SHOWN = 12


def main(args: argparse.Namespace) -> int:
    """Print a summary, or the entries of `args.host`."""
    place = find_place(args.snapshot)
    by_host: dict[str, list[Entry]] = defaultdict(list)
    for entry in read_tree(place.network):
        by_host[parse_url(entry.url).authority].append(entry)
    time = recorded.read(place.network.parent)
    when = None if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    chosen = _chosen(by_host, args.host) if args.host else by_host
    if args.json:
        hosts = [_host_data(host, entries, whole=args.host is not None) for host, entries in sorted(chosen.items())]
        print_json({"snapshot": str(place.network), "recorded": when, "hosts": hosts})
    elif args.host:
        for entries in chosen.values():
            _tell_entries(entries)
    elif not by_host:
        tell("\n".join(place.told_of_no_entry()))
    else:
        _tell_hosts(str(place.network), by_host, when)
    return int(ExitCode.DONE)


def size_of(entries: list[Entry]) -> int:
    """Count the bytes of the different bodies that entries name."""
    return sum({entry.sha256: entry.size or 0 for entry in entries if entry.sha256}.values())


def _chosen(by_host: dict[str, list[Entry]], host: str) -> dict[str, list[Entry]]:
    """Take a host as a person types it: with its port, or without one for every port, or as its file is named."""
    wanted = host.lower()
    found = {
        name: entries
        for name, entries in by_host.items()
        if wanted in {name, name.rpartition(":")[0], file_name_of(entries[0].url), parse_url(entries[0].url).host}
    }
    if not found:
        known = ", ".join(sorted(by_host)) or "none at all"
        raise UsageError(f"the snapshot has nothing of {host}", hint=f"it has these hosts: {known}")
    return found


def _tell_hosts(network: str, by_host: dict[str, list[Entry]], when: str | None) -> None:
    everything = [entry for entries in by_host.values() for entry in entries]
    parts = [
        f"{counted(len(everything), 'entry')} of {counted(len(by_host), 'host')}",
        bytes_as_text(size_of(everything)),
    ]
    tell(f"{network}: {', '.join([*parts, *([f'recorded {when}'] if when else [])])}")
    tell()
    rows = [
        (host, counted(len(entries), "entry"), bytes_as_text(size_of(entries)))
        for host, entries in sorted(by_host.items())
    ]
    tell("\n".join(aligned(rows, right=frozenset({1, 2}))))
    tell()
    tell("next: hermit snapshot show HOST lists the entries of one, hermit snapshot verify checks them all")


def _tell_entries(entries: list[Entry]) -> None:
    rows = [(str(e.status), e.method, _size(e), (e.sha256 or "-")[:_DIGEST_SHOWN], _request(e)) for e in entries]
    tell("\n".join(aligned(rows, indent="", right=frozenset({2}))))


def _size(entry: Entry) -> str:
    return "-" if entry.size is None else bytes_as_text(entry.size)


def _request(entry: Entry) -> str:
    parts = [entry.url, *(f"[{name}: {value}]" for name, value in entry.vary)]
    if entry.body:
        parts.append(f"[body {entry.body[:_DIGEST_SHOWN]}]")
    if location := entry.header("location"):
        parts.append(f"-> {location}")
    if entry.stand_in:
        parts.append(f"(a stand-in {entry.stand_in})")
    return " ".join(parts)


def _host_data(host: str, entries: list[Entry], *, whole: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"host": host, "entries": len(entries), "bytes": size_of(entries)}
    if whole:
        data["requests"] = [entry_data(entry) for entry in entries]
    return data


def entry_data(entry: Entry) -> dict[str, Any]:
    """Give an entry as data for programs, without what says nothing."""
    data = {"id": entry.id, **report.entry_data(entry)}
    return {name: value for name, value in data.items() if value not in (None, {})}

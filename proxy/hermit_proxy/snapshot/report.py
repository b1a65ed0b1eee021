"""Words for a difference between snapshots: for a terminal, and as data for programs and web pages."""

from __future__ import annotations

import re
from typing import Any

from hermit_proxy.snapshot.diff import Change, Difference, NewVersion
from hermit_proxy.snapshot.entry import Entry

_RED, _YELLOW, _GREEN, _DIM, _END = "\x1b[1;31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[0m"
SAME = "The snapshots say the same.\n"
_DIGEST_SHOWN = 12
_VALUE_SHOWN = 40
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def render(difference: Difference, *, colour: bool = False) -> str:
    """Give the lines for a terminal, the alarming ones first; the last line ends the text."""
    if not difference:
        return SAME
    told_above = {*difference.new_variants, *(version.entry for version in difference.new_versions)}
    sections = (
        (_RED, "CHANGED under an unchanged URL", [_changed(change) for change in difference.changed]),
        (_RED, "Another answer beside a known one", [_entry(entry) for entry in difference.new_variants]),
        (_YELLOW, "New hosts", list(difference.new_hosts)),
        (_GREEN, "New versions of known packages", [_version(version) for version in difference.new_versions]),
        (_GREEN, "Added", [_entry(entry) for entry in difference.added if entry not in told_above]),
        (_DIM, "Same content, other headers or key", [_headers(change) for change in difference.headers]),
        (_DIM, "Removed", [_entry(entry) for entry in difference.removed]),
        (_DIM, "Hosts no longer used", list(difference.gone_hosts)),
    )
    lines: list[str] = []
    for style, title, told in sections:
        if told:
            lines += [
                _paint(f"{title} ({len(told)})", style if colour else ""),
                *(f"  {_plain(line)}" for line in told),
            ]
    return "\n".join(lines) + "\n"


def as_json(difference: Difference) -> dict[str, Any]:
    """Give the same as data that json.dump takes."""
    return {
        "changed": [_change_data(change) for change in difference.changed],
        "new_hosts": list(difference.new_hosts),
        "gone_hosts": list(difference.gone_hosts),
        "new_variants": [entry_data(entry) for entry in difference.new_variants],
        "new_versions": [
            {
                "kind": version.package.kind,
                "name": version.package.name,
                "version": version.package.version,
                "known": list(version.known),
                "url": version.entry.url,
            }
            for version in difference.new_versions
        ],
        "headers": [_change_data(change) for change in difference.headers],
        "added": [entry_data(entry) for entry in difference.added],
        "removed": [entry_data(entry) for entry in difference.removed],
    }


def _plain(text: str) -> str:
    # U+009B starts an escape sequence in some terminals, and header values come from strangers.
    return _CONTROL.sub("?", text)


def _paint(text: str, style: str) -> str:
    return f"{style}{text}{_END}" if style else text


def _entry(entry: Entry) -> str:
    varying = "".join(f"  [{name}: {_short(value)}]" for name, value in entry.vary)
    body = f"  body {entry.body[:_DIGEST_SHOWN]}" if entry.body else ""
    return f"{entry.method} {entry.url}{body}  {_answer(entry)}{varying}"


def _short(value: str) -> str:
    return value if len(value) <= _VALUE_SHOWN else value[: _VALUE_SHOWN - 1] + "…"


def _answer(entry: Entry) -> str:
    location = entry.header("location")
    parts = [
        str(entry.status),
        f"sha256:{entry.sha256[:_DIGEST_SHOWN]}" if entry.sha256 else "",
        f"{entry.size} bytes" if entry.size is not None else "",
        f"-> {location}" if location else "",
        f"(a stand-in {entry.stand_in})" if entry.stand_in else "",
    ]
    return " ".join(part for part in parts if part)


def _changed(change: Change) -> str:
    was = "" if change.old.url == change.new.url else f"  (was {change.old.url})"
    return f"{change.new.method} {change.new.url}{was}\n      - {_answer(change.old)}\n      + {_answer(change.new)}"


def _headers(change: Change) -> str:
    was = "" if change.old.url == change.new.url else f" (was {change.old.url})"
    told = [f"{change.new.method} {change.new.url}{was}"]
    for what, before, after in (
        ("", dict(change.old.headers), dict(change.new.headers)),
        ("asked with ", dict(change.old.vary), dict(change.new.vary)),
    ):
        told += [
            f"      {what}{name}: {before.get(name, 'nothing')} -> {after.get(name, 'nothing')}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]
    return "\n".join(told)


def _version(version: NewVersion) -> str:
    package = version.package
    return f"{package.name} {', '.join(version.known)} -> {package.version} ({package.kind})  {version.entry.url}"


def entry_data(entry: Entry) -> dict[str, Any]:
    """Give an entry as data that json.dump takes, every field of it."""
    return {
        "method": entry.method,
        "url": entry.url,
        "body": entry.body,
        "vary": dict(entry.vary),
        "status": entry.status,
        "sha256": entry.sha256,
        "size": entry.size,
        "headers": dict(entry.headers),
        "stand_in": entry.stand_in,
    }


def _change_data(change: Change) -> dict[str, Any]:
    return {"old": entry_data(change.old), "new": entry_data(change.new)}

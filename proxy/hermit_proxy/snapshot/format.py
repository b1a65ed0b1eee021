"""Reads and writes a snapshot file: strict, stable, and quick for what Hermit wrote (docs/snapshot-format.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from hermit_proxy.errors import InputError, Mistake
from hermit_proxy.request.target import BadTargetError
from hermit_proxy.snapshot import check, handwritten
from hermit_proxy.snapshot.entry import KEPT_HEADERS, Entry, Pairs

VERSION = 2
MAX_FILE = 256 << 20

_HEAD = f"version: {VERSION}\nentries:\n"
_EMPTY = f"version: {VERSION}\nentries: []\n"
_QUOTED = r'"(?:[ !#-\[\]-~]|\\["\\]|\\t|\\x[0-9a-f]{2})*"'
_PLAIN = r"[A-Za-z][A-Za-z0-9 ./;=+*_()<>@$~^-]*"
_SINGLE = r"'[ -&(-~]*'"
_PAIR = re.compile(rf"([a-z-]+): (?:({_QUOTED})|({_SINGLE})|({_PLAIN}))(?:, |\Z)")
_URL = r"https?://[!-~]*[!-9;-~]"  # ends in no colon: YAML would take that for a key
_ENTRY = re.compile(
    rf'  - request: (?:([A-Z][A-Z-]{{0,31}}) ({_URL})|"([A-Z][A-Z-]{{0,31}}) (https?://[!#-\[\]-~]+)")\n'
    r"(?:    body: sha256:([0-9a-f]{64})\n)?"
    r"(?:    vary: \{([^\n]+)\}\n)?"
    r"    status: ([1-9][0-9]{2})\n"
    r"(?:    sha256: ([0-9a-f]{64})\n)?"
    r"(?:    size: (0|[1-9][0-9]{0,16})\n)?"
    r"(?:    headers: \{([^\n]+)\}\n)?"
    r"(?:    stand-in: ([a-z]+)\n)?"
)
_PLAIN_VALUE = re.compile(_PLAIN)
_SINGLE_VALUE = re.compile(r"[ -&(-~]*")  # printable ASCII but the quote itself
# What YAML 1.1 readers take for something else than text.
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_ESCAPED = re.compile(r'["\\\t\x80-\xff]')
# One text for each of these, however many entries have it.
_METHODS = {method: method for method in ("GET", "HEAD", "POST")}
_NAMES = {name: name for name in KEPT_HEADERS}
# Headers that say the same of many answers; longer values are not worth the room.
_REPEATED = frozenset({"content-encoding", "content-language", "content-type", "vary"})
_SHORT = 100
_UNESCAPED = re.compile(r'\\(?:x([0-9a-f]{2})|(["\\t]))')


class _NotCanonicalError(ValueError):
    """Is raised inside at the first thing that Hermit does not write itself."""


def dump(entries: Iterable[Entry]) -> bytes:
    """Write entries as one file, sorted; the same entries always give the same bytes.

    Raise ValueError for an entry that `parse` would refuse: it must not reach a repository.
    """
    parts = [_dump_entry(entry) for entry in sorted(entries, key=lambda e: e.sort_key)]
    return "".join([_HEAD, *parts]).encode("ascii") if parts else _EMPTY.encode("ascii")


def _dump_entry(entry: Entry) -> str:
    if wrong := check.problems(entry):
        raise ValueError(f"{entry.method} {entry.url[:200]}: {'; '.join(wrong)}")
    request = f"{entry.method} {entry.url}"
    lines = [f'  - request: "{request}"' if request.endswith(":") else f"  - request: {request}"]
    if entry.body is not None:
        lines.append(f"    body: sha256:{entry.body}")
    if entry.vary:
        lines.append(f"    vary: {_dump_pairs(entry.vary)}")
    lines.append(f"    status: {entry.status}")
    if entry.sha256 is not None:
        lines.append(f"    sha256: {entry.sha256}")
    if entry.size is not None:
        lines.append(f"    size: {entry.size}")
    if entry.headers:
        lines.append(f"    headers: {_dump_pairs(entry.headers)}")
    if entry.stand_in is not None:
        lines.append(f"    stand-in: {entry.stand_in}")
    return "\n".join(lines) + "\n"


def _dump_pairs(pairs: Pairs) -> str:
    return "{" + ", ".join(f"{name}: {_dump_value(value)}" for name, value in pairs) + "}"


def _dump_value(value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    if '"' in value and _SINGLE_VALUE.fullmatch(value):
        return f"'{value}'"  # an ETag stays readable
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    return {'"': '\\"', "\\": "\\\\", "\t": "\\t"}.get(character) or f"\\x{ord(character):02x}"


def parse(text: bytes, path: Path) -> list[Entry]:
    """Read the file `path` that has these bytes; raise InputError with every mistake, its line and what was expected.

    All entries are of the host that the file is named after, and no two answer the same request. What `dump` wrote is
    read by a few regular expressions; a file that a person has edited goes the slow way, through the closed
    YAML reader, and means the same.
    """
    if len(text) > MAX_FILE:
        raise InputError([Mistake(path, None, f"expected at most {MAX_FILE} bytes, there are {len(text)}")])
    try:
        entries = _parse_canonical(text.decode("ascii"), path.name)
    except (_NotCanonicalError, UnicodeDecodeError):
        return handwritten.parse(text, path)
    return entries


def _parse_canonical(text: str, file_name: str) -> list[Entry]:
    if text == _EMPTY:
        return []
    if not text.startswith(_HEAD) or len(text) == len(_HEAD):
        raise _NotCanonicalError
    entries: list[Entry] = []
    seen: set[tuple[str, str, str | None, Pairs]] = set()
    at = len(_HEAD)
    while at < len(text):
        found = _ENTRY.match(text, at)
        if found is None:
            raise _NotCanonicalError
        entry = _entry(found)
        identity = (entry.method, entry.url, entry.body, entry.vary)
        if identity in seen or not _belongs(entry, file_name):
            raise _NotCanonicalError
        seen.add(identity)
        entries.append(entry)
        at = found.end()
    return entries


def _entry(found: re.Match[str]) -> Entry:
    method, url, quoted_method, quoted_url, body, vary, status, sha256, size, headers, stand_in = found.groups()
    method = method or quoted_method
    return Entry(
        _METHODS.get(method, method),
        url or quoted_url,
        int(status),
        body,
        _parse_vary(vary) if vary else (),
        sha256,
        int(size) if size else None,
        (_parse_short_headers if len(headers) <= _SHORT else _parse_headers)(headers) if headers else (),
        stand_in,
    )


def _belongs(entry: Entry, file_name: str) -> bool:
    try:
        return check.file_name_of(entry.url) == file_name and not check.problems_beside_headers(entry)
    except BadTargetError:
        return False


def _parse_pairs(text: str) -> Pairs:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            raise _NotCanonicalError
        name, quoted, single, plain = found.groups()
        if plain is not None and (plain.endswith(" ") or plain.lower() in _RESERVED):
            raise _NotCanonicalError
        pairs.append((_NAMES.get(name, name), plain or (single[1:-1] if single else _unquote(quoted))))
        at = found.end()
    return tuple(pairs)


# A few ways of asking are shared by all entries.
_parse_vary = lru_cache(maxsize=256)(_parse_pairs)


def _parse_headers(text: str) -> Pairs:
    pairs = _parse_pairs(text)
    if check.headers_problems(pairs):
        raise _NotCanonicalError
    return tuple(_shared(*pair) if pair[0] in _REPEATED and len(pair[1]) <= _SHORT else pair for pair in pairs)


# Where nothing tells one answer from the next, a type alone, they share what says so.
_parse_short_headers = lru_cache(maxsize=1024)(_parse_headers)


@lru_cache(maxsize=1024)
def _shared(name: str, value: str) -> tuple[str, str]:
    return name, value


def _unquote(quoted: str) -> str:
    inner = quoted[1:-1]
    return _UNESCAPED.sub(_unescape, inner) if "\\" in inner else inner


def _unescape(found: re.Match[str]) -> str:
    digits, character = found.groups()
    return chr(int(digits, 16)) if digits else "\t" if character == "t" else str(character)

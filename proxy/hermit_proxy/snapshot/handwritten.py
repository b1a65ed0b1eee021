"""Reads a snapshot file that a person has edited: any layout of the same YAML, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

from hermit_proxy.closedyaml import file as yamlfile
from hermit_proxy.closedyaml.file import Node, Scalar
from hermit_proxy.closedyaml.reader import Reader, describe
from hermit_proxy.errors import InputError, Mistake
from hermit_proxy.request.target import BadTargetError
from hermit_proxy.snapshot import check
from hermit_proxy.snapshot.entry import Entry, Pairs

# Reading so takes 40 times as long as reading what Hermit wrote; nobody edits more by hand.
MAX_FILE = 16 << 20
# A file full of mistakes is told by its first ones.
MAX_MISTAKES = 40
_MAX_TABS = 100
FIELDS = ("request", "body", "vary", "status", "sha256", "size", "headers", "stand-in")

_BODY_PREFIX = "sha256:"
_Key = tuple[str, str, str | None, Pairs]


def load(text: bytes, path: Path) -> Node:
    """Parse YAML of bounded size; raise InputError."""
    if len(text) > MAX_FILE:
        expected = f"expected the layout that Hermit writes: of an edited file at most {MAX_FILE >> 20} MiB are read"
        raise InputError([Mistake(path, None, expected)])
    if text.count(b"\t") > _MAX_TABS:
        line = text.count(b"\n", 0, text.index(b"\t")) + 1
        raise InputError([Mistake(path, line, "a tab, the first of many; indent by spaces")])
    return yamlfile.loads(text, path)


def parse(text: bytes, path: Path) -> list[Entry]:
    """Read a version 2 file; raise InputError with every mistake, its line and what was expected."""
    reader = Reader(path)
    root = load(text, path)
    fields = reader.expect_mapping(root, ("version", "entries"), "a snapshot file", required=("version", "entries"))
    version = reader.expect_int(fields.get("version"), "the version")
    if version is not None and version != 2:  # noqa: PLR2004  the version that this module reads
        reader.mistake(fields["version"], f"expected version 2, found {version}; a newer Hermit may have written it")
        reader.finish()
    lines: dict[_Key, int] = {}
    entries: list[Entry] = []
    for node in reader.expect_list(fields.get("entries"), "the entries"):
        if len(reader.mistakes) >= MAX_MISTAKES:
            break
        entry = _entry(reader, node)
        if entry is None:
            continue
        key = (entry.method, entry.url, entry.body, entry.vary)
        if key in lines:
            told = f"{entry.method} {entry.url[:200]}"
            reader.mistake(node, f"{told} stands here for the second time (first: line {lines[key]})")
        lines.setdefault(key, node.line)
        entries.append(entry)
    reader.finish()
    return entries


def _entry(reader: Reader, node: Node) -> Entry | None:
    before = len(reader.mistakes)
    fields = reader.expect_mapping(node, FIELDS, "an entry", required=("request", "status"))
    method, space, url = (reader.expect_str(fields.get("request"), "the request") or "").partition(" ")
    status = reader.expect_int(fields.get("status"), "the status")
    body = reader.expect_str(fields.get("body"), "the body's digest")
    if body is not None and not body.startswith(_BODY_PREFIX):
        reader.mistake(fields["body"], f"expected {_BODY_PREFIX} and 64 hex digits, found {describe(fields['body'])}")
    entry = Entry(
        method=method,
        url=url,
        status=status or 0,
        body=None if body is None else body.removeprefix(_BODY_PREFIX),
        vary=_pairs(reader, fields.get("vary"), "vary"),
        sha256=reader.expect_str(fields.get("sha256"), "the body's sha256"),
        size=reader.expect_int(fields.get("size"), "the size"),
        headers=_pairs(reader, fields.get("headers"), "headers"),
        stand_in=reader.expect_str(fields.get("stand-in"), "the stand-in"),
    )
    if len(reader.mistakes) > before:
        return None
    if not space:
        reader.mistake(fields["request"], f"expected a method and a URL, found {describe(fields['request'])}")
        return None
    return entry if _fits(reader, entry, node, fields) else None


def _fits(reader: Reader, entry: Entry, node: Node, fields: dict[str, Node]) -> bool:
    wrong = check.problems(entry)
    for problem in wrong:
        field, _, message = problem.partition(": ")
        reader.mistake(fields.get(field, node), f"{field}: {message}")
    if wrong:
        return False
    try:
        name = check.file_name_of(entry.url)
    except BadTargetError as error:
        reader.mistake(fields["request"], f"request: {error}")
        return False
    if name != reader.path.name:
        reader.mistake(fields["request"], f"expected entries of this file's host; this one belongs into {name}")
        return False
    return True


def _pairs(reader: Reader, node: Node | None, what: str) -> Pairs:
    pairs: list[tuple[str, str]] = []
    for key, value in reader.expect_free_mapping(node, what):
        if isinstance(value, Scalar) and not value.nothing:
            pairs.append((key.text, value.text))
        else:
            reader.mistake(value, f"expected the value of {key.text[:40]!r} as a text, found {describe(value)}")
    return tuple(sorted(pairs))

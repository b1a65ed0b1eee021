"""Reads the files of the first Hermit, whose repositories must keep working: a mapping of host and path to answer."""

from __future__ import annotations

import re
from pathlib import Path

from hermit_proxy.closedyaml.file import Mapping, Node, Scalar
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.request.target import BadTargetError, Target, parse_url
from hermit_proxy.snapshot import check, handwritten
from hermit_proxy.snapshot.entry import Entry

# The old files do not say the scheme: an entry answers either, until a recording or a migration settles it.
SCHEMES = ("https", "http")

_FIELDS = ("responseCode", "contentType", "contentLength", "sha256", "shake256")
_REQUIRED = ("responseCode", "contentLength", "sha256")
_SHAKE256 = re.compile(r"[0-9a-f]{128}")
_VERSION = re.compile(rb"^[\"']?version[\"']?[ ]*:", re.MULTILINE)
# A key with a slash at the start of a line, plain, quoted or marked by a question mark.
_OLD_KEY = re.compile(rb"^(?:\? )?[\"']?[A-Za-z0-9.:\[\]_-]+/", re.MULTILINE)
_FIRST_NEGATIVE = 400


def is_v1(text: bytes) -> bool:
    """Tell whether a file is of the first Hermit: no version, and keys that are a host and a path."""
    return _VERSION.search(text) is None and _OLD_KEY.search(text) is not None


def parse(text: bytes, path: Path, *, schemes: tuple[str, ...] = SCHEMES) -> list[Entry]:
    """Read an old file as entries for each of `schemes`; raise InputError with every mistake and its line.

    Bodies of negative answers and `shake256` have no place in the new form and are left out, as are answers
    with statuses that are not recorded any more (206, 304, 5xx).
    """
    reader = Reader(path)
    found: dict[tuple[str, str], tuple[Entry, int]] = {}
    for key, node in reader.expect_free_mapping(handwritten.load(text, path), "an old snapshot file"):
        if len(reader.mistakes) >= handwritten.MAX_MISTAKES:
            break
        for entry in _entries(reader, key, node, schemes):
            known, line = found.setdefault(entry.key[:2], (entry, key.line))
            if known != entry:
                reader.mistake(key, f"{key.text[:200]!r} is another spelling of line {line}, with another answer")
    reader.finish()
    return sorted((entry for entry, _ in found.values()), key=lambda entry: entry.sort_key)


def _entries(reader: Reader, key: Scalar, node: Node, schemes: tuple[str, ...]) -> list[Entry]:
    before = len(reader.mistakes)
    targets = _targets(reader, key, schemes)
    fields = reader.expect_mapping(node, _FIELDS, "an old entry", required=_REQUIRED)
    status = reader.expect_int(fields.get("responseCode"), "the responseCode")
    content_type = reader.expect_str(_unless_empty(fields.get("contentType")), "the contentType")
    size = reader.expect_int(fields.get("contentLength"), "the contentLength")
    sha256 = reader.expect_str(fields.get("sha256"), "the sha256")
    shake256 = reader.expect_str(fields.get("shake256"), "the shake256")
    if shake256 is not None and not _SHAKE256.fullmatch(shake256):
        reader.mistake(fields["shake256"], "expected 128 lower-case hex digits")
    if len(reader.mistakes) > before or status is None or not isinstance(node, Mapping):
        return []
    negative = status >= _FIRST_NEGATIVE
    headers = () if negative or content_type is None else (("content-type", content_type),)
    entries = [
        Entry("GET", target.url, status, None, (), None if negative else sha256, None if negative else size, headers)
        for target in targets
    ]
    return [entry for entry in entries if check.recordable(status) and _fits(reader, entry, node)]


def _unless_empty(node: Node | None) -> Node | None:
    """Take an empty value for an absent one, as the first Hermit did."""
    return None if isinstance(node, Scalar) and (node.nothing or not node.text) else node


def _targets(reader: Reader, key: Scalar, schemes: tuple[str, ...]) -> list[Target]:
    try:
        targets = [parse_url(f"{scheme}://{key.text}") for scheme in schemes]
    except BadTargetError as error:
        reader.mistake(key, f"expected host/path: {error}")
        return []
    host = targets[0].host if targets else ""
    if reader.path.name.removesuffix(".yaml") not in {host, key.text.partition("/")[0].lower()}:
        reader.mistake(key, f"expected keys of this file's host; this one has the host {host}")
        return []
    return targets


def _fits(reader: Reader, entry: Entry, node: Node) -> bool:
    wrong = check.problems(entry)
    for problem in wrong:
        reader.mistake(node, problem)
    return not wrong

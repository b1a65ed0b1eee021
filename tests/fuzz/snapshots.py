"""Fuzzes snapshot files of both versions: the quick reader against the thorough one, and both against PyYAML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import yaml

from hermit_proxy.errors import InputError
from hermit_proxy.request.target import BadTargetError, host_file_name, parse_url
from hermit_proxy.snapshot import check as entry_check
from hermit_proxy.snapshot import format as snapshot_format
from hermit_proxy.snapshot import handwritten, v1
from hermit_proxy.snapshot.entry import Entry
from tests.fuzz.case import Case, attempt
from tests.fuzz.files import PATH, YAML_WORDS

_ORIGIN = "https://registry.example.org"
_DIGEST = "4c25de18" * 8


def _identities(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.sort_key)


def snapshot_file(data: bytes) -> bool:
    quick = attempt(
        lambda: snapshot_format._parse_canonical(data.decode("ascii"), PATH.name),
        snapshot_format._NotCanonicalError,
        UnicodeDecodeError,
    )
    slow = attempt(lambda: handwritten.parse(data, PATH), InputError)
    assert quick is None or slow == quick, "the quick reader and the thorough one disagree"
    entries = attempt(lambda: snapshot_format.parse(data, PATH), InputError)
    assert entries == slow
    if entries is None:
        return False
    _check_entries(entries)
    written = snapshot_format.dump(entries)
    assert snapshot_format._parse_canonical(written.decode(), PATH.name) == _identities(entries)
    _check_meaning(data, entries)
    _check_meaning(written, _identities(entries))
    return bool(entries)


def _check_entries(entries: list[Entry]) -> None:
    assert len({(entry.key, entry.vary) for entry in entries}) == len(entries)
    for entry in entries:
        assert not entry_check.problems(entry)
        target = parse_url(entry.url)
        assert (target.url, host_file_name(target)) == (entry.url, PATH.name)


def _check_meaning(data: bytes, entries: list[Entry]) -> None:
    """Compare with what any YAML reader sees in the file."""
    written = yaml.load(data, Loader=yaml.CBaseLoader)["entries"]  # noqa: S506  it makes nothing but texts
    assert [entry["request"] for entry in written or ()] == [f"{entry.method} {entry.url}" for entry in entries]
    for fields, entry in zip(written or (), entries, strict=True):
        assert int(fields["status"]) == entry.status
        assert fields.get("sha256") == entry.sha256
        assert (int(fields["size"]) if "size" in fields else None) == entry.size
        assert fields.get("body") == (None if entry.body is None else f"sha256:{entry.body}")
        for name, pairs in (("vary", entry.vary), ("headers", entry.headers)):
            assert dict(fields.get(name) or {}) == dict(pairs)
        assert fields.get("stand-in") == entry.stand_in


def old_snapshot_file(data: bytes) -> bool:
    entries = attempt(lambda: v1.parse(data, PATH), InputError)
    v1.is_v1(data)
    for entry in entries or ():
        assert not entry_check.problems(entry)
        assert entry.method == "GET"
        assert parse_url(entry.url).host == "registry.example.org"
    return bool(entries)


def url(data: bytes) -> bool:
    """Compare the look that spares parsing a normal URL with parsing it."""
    text = data.decode("latin-1")
    name = attempt(lambda: entry_check.file_name_of(text), BadTargetError)
    target = attempt(lambda: parse_url(text), BadTargetError)
    if target is None or target.url != text:
        assert name is None, "a URL that is not normal is taken"
        return False
    assert name == host_file_name(target)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name) <= 255
    return True


_E = Entry("GET", f"{_ORIGIN}/simple/foo/", 200, None, (), _DIGEST, 529)
_ENTRIES = [
    Entry("GET", f"{_ORIGIN}/@v/list", 404),
    Entry("HEAD", f"{_ORIGIN}/a.whl", 200, size=7),
    Entry("POST", f"{_ORIGIN}/foo.git/git-upload-pack", 200, _DIGEST, (), _DIGEST, 0),
    replace(_E, vary=(("accept", "application/vnd.example+json; q=0.9, */*"),), headers=(("etag", 'W/"ab\'c"'),)),
    replace(_E, url=f"{_ORIGIN}/urn:", headers=(("content-type", "text/html; charset=utf-8"), ("location", "yes"))),
    Entry("GET", f"{_ORIGIN}/token?scope=a", 200, headers=(("content-type", "application/json"),), stand_in="token"),
    replace(_E, url=f"{_ORIGIN}/x%2Fy?a=%20&b", headers=(("content-disposition", 'a "\\\t\xe9'), ("link", "<a>, <b>"))),
]
_BY_HAND = f"""\
# Edited by hand.
"version": 2
entries:
- {{status: 200, request: 'GET {_ORIGIN}/a', sha256: "{_DIGEST}", size: 1}}
- request: >-
    GET {_ORIGIN}/b
  status: 302
  headers:
    ? location
    : "https://registry.example.org/\\x41"
  vary: {{git-protocol: version=2}}
"""
_OLD = f"""\
registry.example.org/dists/foo/InRelease:
  responseCode: 200
  contentType: text/plain
  contentLength: 11
  sha256: {_DIGEST}
  shake256: {_DIGEST * 2}
registry.example.org/pool/a_1.0.deb: {{responseCode: 404, contentType: '', contentLength: 0, sha256: {_DIGEST}}}
"""
CASES = (
    Case(
        "snapshot",
        snapshot_file,
        [
            snapshot_format.dump(_ENTRIES),
            *(snapshot_format.dump([entry]) for entry in _ENTRIES),
            snapshot_format.dump([]),
            _BY_HAND.encode(),
        ],
        (
            *YAML_WORDS,
            b"  - request: GET https://registry.example.org/",
            b"    status: 200\n",
            b"    size: 0\n",
            f"    sha256: {_DIGEST}\n".encode(),
            f"    body: sha256:{_DIGEST}\n".encode(),
            b"    vary: {accept: a}\n",
            b"    headers: {etag: b, vary: c}\n",
            b"    stand-in: token\n",
            b"HEAD",
            b"M-SEARCH",
            b"http://",
            b":80",
            b"%2f",
            b"..",
            b"//",
            b"content-type: ",
            b"304",
            b"9007199254740993",
            b"''",
            b"\\\\",
            b'\\"',
            b"entries: []\n",
            b"Null",
        ),
    ),
    Case(
        "old-snapshot",
        old_snapshot_file,
        [_OLD.encode()],
        (*YAML_WORDS, b"responseCode: 206", b"registry.example.org/"),
    ),
    Case(
        "entry-url",
        url,
        [entry.url.encode() for entry in _ENTRIES] + [b"http://[2001:db8::1]:8080/a?b", b"http://192.0.2.1/"],
        (
            b"..",
            b"./",
            b"//",
            b"%2f",
            b"%2F",
            b"%41",
            b"%25",
            b"?",
            b"#",
            b"@",
            b":443",
            b":80",
            b":0",
            b"\\",
            b";",
            b"xn--",
        ),
        400,
    ),
)

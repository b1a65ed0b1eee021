"""Fuzzes the files that people write or merge: YAML, rules, snapshots of both versions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from hermit_proxy import yamlfile
from hermit_proxy.errors import InputError
from hermit_proxy.rules import Action, Rules, load_rules
from hermit_proxy.snapshot import check as entry_check
from hermit_proxy.snapshot import format as snapshot_format
from hermit_proxy.snapshot import handwritten, v1
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.target import INTERNAL_HOST, BadTargetError, Target, host_file_name, parse_url
from tests.fuzz.case import Case, attempt

PATH = Path("registry.example.org.yaml")
_ORIGIN = "https://registry.example.org"
_DIGEST = "4c25de18" * 8
_YAML_WORDS = (
    b": ", b"- ", b"\n", b"\n  ", b"{", b"}", b"[", b"]", b", ", b"'", b'"', b"#", b" #", b"&a ", b"*a", b"!!str ", b"!t ",
    b"<<: ", b"? ", b"| ", b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 1.1\n", b"~", b"null", b"yes", b"\\x41", b"\\u0041",
    b"\\N", b"\t", b"\r\n", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\\", b"0x10", b"1_0", b"2020-01-01", b"@", b"`",
)  # fmt: skip


def _plain(node: yamlfile.Node) -> Any:
    if isinstance(node, yamlfile.Scalar):
        return node.text
    if isinstance(node, yamlfile.Sequence):
        return [_plain(item) for item in node.items]
    return {key.text: _plain(value) for key, value in node.items}


class _Closed:
    """Reads the closed subset with PyYAML's nodes instead of its events: no tags, anchors, doubles, second documents."""

    def __init__(self, text: str) -> None:
        self.clean = not any(
            getattr(event, "anchor", None) or getattr(event, "tag", None) or getattr(event, "version", None)
            for event in yaml.parse(text, Loader=yaml.CBaseLoader)
        )
        documents = list(yaml.compose_all(text, Loader=yaml.CBaseLoader))
        self.clean &= len(documents) <= 1
        self.value = self._value(documents[0], 1) if documents else ""

    def _value(self, node: yaml.Node, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return node.value
        self.clean &= depth <= yamlfile.MAX_DEPTH
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, depth + 1) for item in node.value]
        found: dict[str, Any] = {}
        for key, value in node.value:
            good = isinstance(key, yaml.ScalarNode) and key.value not in found
            self.clean &= good and not (key.value == "<<" and not key.style)
            found[str(key.value)] = self._value(value, depth + 1)
        return found


def _peer(data: bytes) -> _Closed | None:
    """Read as PyYAML does; None where it refuses."""
    try:
        return _Closed(data.decode("utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None


def yaml_file(data: bytes) -> bool:
    node = attempt(lambda: yamlfile.loads(data, PATH), InputError)
    peer = _peer(data) if len(data) < 2000 else None
    if node is None:
        told = b"\t" in data or len(data) >= 2000
        assert told or peer is None or not peer.clean, "a file of the closed subset is refused"
        return False
    if len(data) < 2000:
        assert peer is not None, "PyYAML refuses it"
        assert peer.clean, "something outside the closed subset is accepted"
        assert _plain(node) == peer.value
    return True


_FOLDER = Path(tempfile.mkdtemp(prefix="hermit-fuzz-"))
_PROBES = [
    parse_url(url)
    for url in (
        "https://files.example.org/a/b-1.0.tar.gz", "http://files.example.org/", "https://files.example.org:8443/a",
        "https://filesxexample.org/a", "https://files.example.org.example.net/a/b", "http://127.0.0.1/", "http://[::1]/",
        "https://files.example.org/a%2Fb/..c", f"https://files.example.org/{'a/' * 200}", "https://example.org/%C3%A9",
    )
]  # fmt: skip


def rules_file(data: bytes) -> bool:
    path = _FOLDER / "rules.yaml"
    path.write_bytes(data)
    rules = attempt(lambda: load_rules(path), InputError)
    if rules is None:
        return False
    peer = _peer(data)
    assert peer is not None
    assert isinstance(peer.value, dict)
    assert set(peer.value) == {"rules"}
    assert len(rules.rules) == len(peer.value["rules"])
    _check_rules(rules, peer.value["rules"])
    return bool(rules.rules)


def _check_rules(rules: Rules, written: list[dict[str, Any]]) -> None:
    for rule, fields in zip(rules.rules, written, strict=True):
        assert rule.pattern.text == fields["pattern"]
        assert rule.action is Action(fields["action"])
        methods = fields.get("method")
        assert rule.methods == (None if methods is None else frozenset([methods] if isinstance(methods, str) else methods))
        assert rule.scheme == fields.get("scheme")
        assert rule.fold_redirect == (fields.get("fold_redirect") == "true")
        assert rule.credential == fields.get("credential")
        for probe in _PROBES:
            if rule.pattern.literal_host is not None and rule.pattern.matches(probe, probe.path):
                assert probe.host == rule.pattern.literal_host
    for scheme, port in (("http", 80), ("https", 443)):
        assert rules.match("GET", Target(scheme, INTERNAL_HOST, port, "/ca.pem", None)) is None
    for probe in _PROBES:
        found = rules.match("GET", probe)
        admitting = [rule for rule in rules.rules if rule.admits("GET", probe, probe.path)]
        assert found is (admitting[0] if admitting else None)
        if found is not None:
            parse_url(found.key_url(probe))


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
    written = yaml.load(data, Loader=yaml.CBaseLoader)["entries"]
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
_RULES = rb"""
rules:
  - {pattern: 'files\.example\.org/(a|b)/.*', action: ALLOW, method: [GET, HEAD], query: ignore}
  - pattern: files.example.org:(80|8443)/[a-z]+\.tar\.gz
    action: NO_STORE
    scheme: https
    max_size: 10 MiB
    min_age: 3d
    credential: index
  - {pattern: "[::1]/.*", action: REJECT}
  - {pattern: .*.example.org/v2/.*, action: LOCKED, fold_redirect: true, query: [a, b]}
"""

CASES = (
    Case(
        "yaml",
        yaml_file,
        [_RULES, _BY_HAND.encode(), _OLD.encode(), b"", b"a: [b, {c: d}]\n", b"? a\n: |\n  b\n", b"[" * 15 + b"]" * 15],
        _YAML_WORDS,
        1500,
    ),
    Case(
        "rules",
        rules_file,
        [_RULES, b"rules: []\n", b"rules:\n- {pattern: 'a/', action: ALLOW}\n"],
        (
            *_YAML_WORDS, b"pattern: ", b"action: ", b"method: ", b"query: ", b"scheme: http", b"max_size: 1 kB", b"min_age: 2w",
            b"credential: a", b"fold_redirect: true", b"ALLOW", b"REFRESH", b".*", b"(?i)", b"{2,3}", b"[^/]", b"\\d", b"\\.",
            b"hermit.internal", b"h.*", b"files.example.org", b"(a|b)", b"\\/", b":8443", b"%2F", b"x{1000}", b"^", b"$",
        ),
        2000,
    ),
    Case(
        "snapshot",
        snapshot_file,
        [
            snapshot_format.dump(_ENTRIES), *(snapshot_format.dump([entry]) for entry in _ENTRIES), snapshot_format.dump([]),
            _BY_HAND.encode(),
        ],
        (
            *_YAML_WORDS, b"  - request: GET https://registry.example.org/", b"    status: 200\n", b"    size: 0\n",
            f"    sha256: {_DIGEST}\n".encode(), f"    body: sha256:{_DIGEST}\n".encode(), b"    vary: {accept: a}\n",
            b"    headers: {etag: b, vary: c}\n", b"    stand-in: token\n", b"HEAD", b"M-SEARCH", b"http://", b":80", b"%2f",
            b"..", b"//", b"content-type: ", b"304", b"9007199254740993", b"''", b"\\\\", b'\\"', b"entries: []\n", b"Null",
        ),
    ),
    Case("old-snapshot", old_snapshot_file, [_OLD.encode()], (*_YAML_WORDS, b"responseCode: 206", b"registry.example.org/")),
    Case(
        "entry-url",
        url,
        [entry.url.encode() for entry in _ENTRIES] + [b"http://[2001:db8::1]:8080/a?b", b"http://192.0.2.1/"],
        (b"..", b"./", b"//", b"%2f", b"%2F", b"%41", b"%25", b"?", b"#", b"@", b":443", b":80", b":0", b"\\", b";", b"xn--"),
        400,
    ),
)  # fmt: skip

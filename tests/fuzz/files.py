"""Fuzzes the files that people write: YAML against PyYAML, and rules against both."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from hermit_proxy.closedyaml import file as yamlfile
from hermit_proxy.errors import InputError
from hermit_proxy.request.target import INTERNAL_HOST, Target, parse_url
from hermit_proxy.rules.file import Action, Rules, load_rules
from tests.fuzz.case import Case, attempt

PATH = Path("registry.example.org.yaml")
YAML_WORDS = (
    b": ",
    b"- ",
    b"\n",
    b"\n  ",
    b"{",
    b"}",
    b"[",
    b"]",
    b", ",
    b"'",
    b'"',
    b"#",
    b" #",
    b"&a ",
    b"*a",
    b"!!str ",
    b"!t ",
    b"<<: ",
    b"? ",
    b"| ",
    b"|\n",
    b">-\n",
    b"---\n",
    b"...\n",
    b"%YAML 1.1\n",
    b"~",
    b"null",
    b"yes",
    b"\\x41",
    b"\\u0041",
    b"\\N",
    b"\t",
    b"\r\n",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\\",
    b"0x10",
    b"1_0",
    b"2020-01-01",
    b"@",
    b"`",
)


def _plain(node: yamlfile.Node) -> Any:
    if isinstance(node, yamlfile.Scalar):
        return node.text
    if isinstance(node, yamlfile.Sequence):
        return [_plain(item) for item in node.items]
    return {key.text: _plain(value) for key, value in node.items}


class _Closed:
    """Reads the closed subset by PyYAML's nodes instead of its events: no tags, anchors, doubles, second documents."""

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


_FOLDER = tempfile.TemporaryDirectory(prefix="hermit-fuzz-")
_PROBES = [
    parse_url(url)
    for url in (
        "https://files.example.org/a/b-1.0.tar.gz",
        "http://files.example.org/",
        "https://files.example.org:8443/a",
        "https://filesxexample.org/a",
        "https://files.example.org.example.net/a/b",
        "http://127.0.0.1/",
        "http://[::1]/",
        "https://files.example.org/a%2Fb/..c",
        f"https://files.example.org/{'a/' * 200}",
        "https://example.org/%C3%A9",
    )
]


def rules_file(data: bytes) -> bool:
    path = Path(_FOLDER.name) / "rules.yaml"
    path.write_bytes(data)
    rules = attempt(lambda: load_rules(path), InputError)
    if rules is None:
        return False
    peer = _peer(data)
    assert peer is not None
    if not isinstance(peer.value, dict):
        assert peer.value in {"", "~", "null", "Null", "NULL"}
        assert rules.rules == ()
        return False
    assert set(peer.value) == {"rules"}
    assert len(rules.rules) == len(peer.value["rules"])
    _check_rules(rules, peer.value["rules"])
    return bool(rules.rules)


def _check_rules(rules: Rules, written: list[dict[str, Any]]) -> None:
    for rule, fields in zip(rules.rules, written, strict=True):
        assert rule.pattern.text == fields["pattern"]
        assert rule.action is Action(fields["action"])
        methods = fields.get("method")
        named = [methods] if isinstance(methods, str) else methods
        assert rule.methods == (None if named is None else frozenset(named))
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
        [_RULES, b"", b"a: [b, {c: d}]\n", b"? a\n: |\n  b\n", b"[" * 15 + b"]" * 15],
        YAML_WORDS,
        1500,
    ),
    Case(
        "rules",
        rules_file,
        [_RULES, b"rules: []\n", b"rules:\n- {pattern: 'a/', action: ALLOW}\n"],
        (
            *YAML_WORDS,
            b"pattern: ",
            b"action: ",
            b"method: ",
            b"query: ",
            b"scheme: http",
            b"max_size: 1 kB",
            b"min_age: 2w",
            b"credential: a",
            b"fold_redirect: true",
            b"ALLOW",
            b"REFRESH",
            b".*",
            b"(?i)",
            b"{2,3}",
            b"[^/]",
            b"\\d",
            b"\\.",
            b"hermit.internal",
            b"h.*",
            b"files.example.org",
            b"(a|b)",
            b"\\/",
            b":8443",
            b"%2F",
            b"x{1000}",
            b"^",
            b"$",
        ),
        2000,
    ),
)

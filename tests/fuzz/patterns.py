"""Fuzzes patterns of rules against Python's expressions, and the rule that a refusal proposes against its request."""

from __future__ import annotations

import re
import warnings

from hermit_proxy.closedyaml.file import Mapping, Scalar, Sequence, loads
from hermit_proxy.request.target import DEFAULT_PORTS, INTERNAL_HOST, BadTargetError, Target, parse_url
from hermit_proxy.rules.file import Action, Rule, Rules
from hermit_proxy.rules.pattern import MAX_LENGTH, compile_pattern
from hermit_proxy.run import refusal
from tests.fuzz.case import Case, attempt, lines_of
from tests.fuzz.files import PATH
from tests.fuzz.names import URL_WORDS, URLS

# Where Python's expressions and RE2's differ, or Python's take for ever.
_FOREIGN = re.compile(
    r"\(\?|\\[^.\-_dw/\\|+*?(){}\[\]^$]|\[\[|\[:|[*+?}][*+?{]|\{,|\}.*\}|[*+{].*[*+{].*[*+{]|\[[^\]]*\[|\$|\^"
)


def pattern(data: bytes) -> bool:
    written, rest = lines_of(data)
    compiled = attempt(lambda: compile_pattern(written), ValueError)
    if compiled is None:
        return False
    asked = [found for line in rest[:6] if (found := attempt(lambda: parse_url(line), BadTargetError)) is not None]  # noqa: B023  it is called at once
    for found in asked:
        admitted = compiled.matches(found, found.path)
        if compiled.literal_host is not None and admitted:
            assert found.host == compiled.literal_host
        peer = _python_pattern(written)
        if peer is not None and len(found.url) < 60:
            assert admitted == _python_matches(peer, found), (written, found.url)
    internal = Target("http", INTERNAL_HOST, 80, "/", None)
    assert Rules([Rule(compiled, Action.ALLOW)]).match("GET", internal) is None
    return True


def _python_pattern(written: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str] | None] | None:
    """Translate with Python's own expressions, by the rules of docs/rules.md: dots of a host are dots."""
    if _FOREIGN.search(written) or written.startswith("[") or ":" in written.partition("/")[2]:
        return None
    host, slash, path = written.partition("/")
    if host.endswith("\\") or "[" in host:
        return None
    name, colon, port = host.partition(":")
    if name.endswith("."):
        return None  # the root's dot, which no normalised host has
    name = re.sub(r"(?<!\\)\.(?![*+?{])", r"\\.", name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            flags = re.ASCII | re.IGNORECASE
            return re.compile(name, flags), re.compile(slash + path, re.ASCII), re.compile(port) if colon else None
    except (re.error, FutureWarning, RecursionError, OverflowError):
        return None


def _python_matches(peer: tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str] | None], asked: Target) -> bool:
    host, path, port = peer
    if not (port.fullmatch(str(asked.port)) if port is not None else DEFAULT_PORTS[asked.scheme] == asked.port):
        return False
    return bool(host.fullmatch(asked.host) and path.fullmatch(asked.path))


def proposed_rule(data: bytes) -> bool:
    """Paste the rule that a refusal proposes: it has to admit what was refused, and no neighbour of it."""
    method, _, text = data.decode("latin-1").partition(" ")
    found = attempt(lambda: parse_url(text), BadTargetError)
    if found is None or not re.fullmatch(r"[A-Z]{1,20}", method) or found.host == INTERNAL_HOST or method == "CONNECT":
        return False
    node = loads(refusal.rule_for(method, found).encode(), PATH)
    assert isinstance(node, Sequence)
    assert isinstance(node.items[0], Mapping)
    fields = {key.text: value for key, value in node.items[0].items}
    pattern_node = fields["pattern"]
    assert isinstance(pattern_node, Scalar)
    if len(pattern_node.text) <= MAX_LENGTH:
        compiled = compile_pattern(pattern_node.text)
        assert compiled.matches(found, found.path)
        for neighbour in (f"{found.path}x", found.path[:-1], f"/x{found.path}"):
            assert not compiled.matches(found, neighbour)
    told = refusal.body(method, found.url, "no rule admits it", text)
    assert told.startswith(b"Hermit refused ")
    assert len(told) <= 2200 + 6 * len(text)
    return True


CASES = (
    Case(
        "pattern",
        pattern,
        [
            rb"files\.example\.org/(a|b)/.*" + b"\nhttps://files.example.org/a/x\nhttps://filesxexample.org/a/x",
            b"files.example.org:(80|8443)/[a-z]+\nhttp://files.example.org:8443/abc",
            b".*.example.org/v2/.+\nhttp://a.example.org/v2/x\nhttp://example.org/v2/x",
            b"[::1]/.*\nhttp://[::1]/a",
            b"127.0.0.1/\nhttp://127.0.0.1/",
            b"[a-c]{1,3}.example.org/x?\nhttp://abc.example.org/",
            b"(?:a|b).example.org:.*/\nhttp://a.example.org/",
        ],
        (
            *URL_WORDS,
            b".*",
            b".+",
            b".?",
            b"{1,2}",
            b"{3}",
            b"(",
            b")",
            b"|",
            b"\\.",
            b"\\-",
            b"\\d",
            b"\\w",
            b"[^/]",
            b"[a-z]",
            b"(?:",
            b"(?i)",
            b"\\Q",
            b"\\E",
            b"\\C",
            b"\\pL",
            b"\n",
            b"\\n",
            b"\\x41",
            b"^",
            b"$",
            b"\\z",
            b"http://a.example.org/",
            b"[[:alpha:]]",
        ),
        300,
    ),
    Case(
        "proposed-rule",
        proposed_rule,
        [b"GET " + url for url in URLS] + [b"POST " + url for url in URLS],
        URL_WORDS,
        3000,
    ),
)

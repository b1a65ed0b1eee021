"""Fuzzes what names a resource: URLs, hosts, patterns, request keys, and the rule that a refusal proposes."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import socket
import warnings
from urllib.parse import unquote, urlsplit

from hermit_proxy import refusal
from hermit_proxy.key import Request, acceptability, normalise_header, vary_of
from hermit_proxy.pattern import compile_pattern
from hermit_proxy.rules import Action, Rule, Rules
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.target import (
    DEFAULT_PORTS,
    INTERNAL_HOST,
    BadTargetError,
    Target,
    parse_authority,
    parse_host,
    parse_url,
)
from hermit_proxy.yamlfile import Mapping, Sequence, loads
from tests.fuzz.case import Case, attempt, lines_of
from tests.fuzz.files import PATH

_QUADS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")


def target(data: bytes) -> bool:
    text = data.decode("latin-1")
    for read in (parse_host, lambda name: parse_authority(name, default_port=None)):
        attempt(lambda read=read: read(text), BadTargetError)  # type: ignore[misc]  # the default binds it
    found = attempt(lambda: parse_url(text), BadTargetError)
    if found is None:
        return False
    assert parse_url(found.url) == found, "not idempotent"
    _check_host(text, found)
    _check_path(text, found)
    return True


def _check_host(text: str, found: Target) -> None:
    """Compare with how others read the same URL: nobody may see another host or port in it."""
    split = urlsplit(text)
    assert split.scheme == found.scheme
    assert split.username is None
    name = split.hostname or ""
    assert (split.port or DEFAULT_PORTS[found.scheme]) == found.port
    if ":" in name:
        assert ipaddress.IPv6Address(name) == ipaddress.IPv6Address(found.host)
    else:
        assert name.removesuffix(".") == found.host
    if ":" not in found.host and _resolves_as_number(found.host):
        assert _QUADS.fullmatch(found.host), "a spelling of an address that only resolvers understand"
        assert socket.inet_aton(found.host) == ipaddress.IPv4Address(found.host).packed
    assert found.host.isascii()
    assert found.host == found.host.lower()
    assert not set(found.host) & set("/\\@?#% []\0\t\r\n")


def _resolves_as_number(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def _check_path(text: str, found: Target) -> None:
    assert found.path.startswith("/")
    assert not found.path.startswith("//")
    assert all("!" <= character <= "~" for character in found.request_target)
    assert "#" not in found.request_target
    layer = found.path
    for _ in range(10):  # however often a server decodes, it stays below what the rules have seen
        assert not {".", ".."} & set(re.split(r"[/\\]", layer)), layer
        layer = unquote(layer, "latin-1")
    wire = urlsplit(found.url)
    assert (wire.path, wire.query) == (found.path, found.query or "")
    if "%" not in text and found.path.isascii() and '"' not in text:
        written = urlsplit(text).path
        normal = posixpath.normpath(f"/{written}").replace("//", "/")
        assert unquote(found.path.rstrip("/") or "/", "latin-1") == normal


# Where Python's expressions and RE2's differ, or Python's take for ever.
_FOREIGN = re.compile(r"\(\?|\\[^.\-_dw/\\|+*?(){}\[\]^$]|\[\[|\[:|[*+?}][*+?{]|\{,|\}.*\}|[*+{].*[*+{].*[*+{]|\[[^\]]*\[|\$|\^")


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


def _python_matches(
    peer: tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str] | None], asked: Target
) -> bool:
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
    if len(fields["pattern"].text) <= 2048:  # type: ignore[union-attr]  # a scalar
        compiled = compile_pattern(fields["pattern"].text)  # type: ignore[union-attr]  # a scalar
        assert compiled.matches(found, found.path)
        for neighbour in (f"{found.path}x", found.path[:-1], f"/x{found.path}"):
            assert not compiled.matches(found, neighbour)
    told = refusal.body(method, found.url, "no rule admits it", text)
    assert told.startswith(b"Hermit refused ")
    assert len(told) <= 2200 + 6 * len(text)
    return True


def key(data: bytes) -> bool:
    """Record an answer to one request and look for it with another: lines are two URLs and headers of both."""
    first, rest = lines_of(data)
    method, _, text = first.partition(" ")
    recorded = attempt(lambda: parse_url(text), BadTargetError)
    if recorded is None or not rest:
        return False
    asked = attempt(lambda: parse_url(rest[0]), BadTargetError) or recorded
    headers = [dict(_pairs(rest[1:], mark)) for mark in ("<", ">", "=")]
    for value in (*headers[0].values(), *headers[1].values()):
        assert normalise_header(normalise_header(value)) == normalise_header(value)
        assert 0.0 <= acceptability(value, text) <= 1.0
    request = Request(method, recorded, headers[0])
    vary = vary_of(request, headers[2].get("vary"), headers[2].get("content-type"))
    assert set(vary) <= set(request.varying())
    entry = Entry(method, recorded.url, 200, None, vary, "0" * 64, 1)
    snapshot = Snapshot([entry])
    assert snapshot.find(request) is entry, "an answer is not found for the request that it was recorded for"
    other = Request(headers[1].pop("method", method), asked, headers[1])
    found = snapshot.find(other)
    if found is not None:
        assert (other.method, asked.url) in {(method, recorded.url), ("HEAD", recorded.url)}
        sent = dict(other.varying())
        assert all(sent.get(name) == value for name, value in vary if name != "accept")
    return True


def _pairs(lines: list[str], mark: str) -> list[tuple[str, str]]:
    found = (line[1:].partition(":") for line in lines if line.startswith(mark))
    return [(name.strip().lower(), value.strip(" \t")) for name, _, value in found]


_URLS = (
    b"http://files.example.org/", b"HTTPS://Files.Example.ORG.:443/a/./b/../c//d?x=1&y=%7E%2f", b"http://[::1]:8080/%2e%2e/x",
    b"http://192.0.2.1/%252e%252e/a", b"https://xn--bcher-kva.example.org/\xc3\xa9?\xe9", b"http://user@files.example.org/",
    b"http://0x7f.1/", b"http://127.1/", b"http://[::ffff:127.0.0.1]/", b"http://[fe80::1%25eth0]/", b"http://a_b.example.org:65535?q",
    b"https://files.example.org/a;..;/b", b"http://files.example.org/%c0%ae%c0%ae/", b"http://files.example.org/a%5c..%5Cb",
)  # fmt: skip
_URL_WORDS = (
    b"://", b"//", b"/../", b"/./", b"%2e", b"%2F", b"%5c", b"%25", b"%252e", b"%c0%ae", b"\\", b"@", b":", b":80", b":443",
    b":0443", b"[", b"]", b"::", b"0x", b"0177.", b"127.0.0.1", b"1.", b".", b"?", b"#", b";", b"%00", b"\t", b" ", b"%", b"\xe3\x80\x82",
)  # fmt: skip

CASES = (
    Case("target", target, _URLS, _URL_WORDS, 600),
    Case(
        "pattern",
        pattern,
        [
            rb"files\.example\.org/(a|b)/.*" + b"\nhttps://files.example.org/a/x\nhttps://filesxexample.org/a/x",
            b"files.example.org:(80|8443)/[a-z]+\nhttp://files.example.org:8443/abc",
            b".*.example.org/v2/.+\nhttp://a.example.org/v2/x\nhttp://example.org/v2/x", b"[::1]/.*\nhttp://[::1]/a",
            b"127.0.0.1/\nhttp://127.0.0.1/", b"[a-c]{1,3}.example.org/x?\nhttp://abc.example.org/", b"(?:a|b).example.org:.*/\nhttp://a.example.org/",
        ],
        (
            *_URL_WORDS, b".*", b".+", b".?", b"{1,2}", b"{3}", b"(", b")", b"|", b"\\.", b"\\-", b"\\d", b"\\w", b"[^/]", b"[a-z]",
            b"(?:", b"(?i)", b"\\Q", b"\\E", b"\\C", b"\\pL", b"\n", b"\\n", b"\\x41", b"^", b"$", b"\\z", b"http://a.example.org/", b"[[:alpha:]]",
        ),
        300,
    ),
    Case("proposed-rule", proposed_rule, [b"GET " + url for url in _URLS] + [b"POST " + url for url in _URLS], _URL_WORDS, 3000),
    Case(
        "key",
        key,
        [
            b"GET https://files.example.org/v2/a\nhttps://files.example.org/v2/a\n<accept: application/vnd.oci.image.index.v1+json, */*;q=0.1\n"
            b">accept: */*\n>method: HEAD\n=vary: Accept\n=content-type: application/vnd.oci.image.index.v1+json",
            b"GET https://files.example.org/a?b=c\nhttps://files.example.org/a?b=c\n<git-protocol: version=2\n>git-protocol: version=1",
            b"POST https://files.example.org/a\n\n<accept-language: de , en;q=0.5\n=vary: accept-language,accept\n>accept-language: DE, en;q=0.5",
        ],
        (b"\n<accept: ", b"\n>accept: ", b"\n=vary: *", b"\n>method: HEAD", b"q=0.5", b"q=nan", b"q=1_0", b"*/*", b", ", b";", b"application/vnd."),
        800,
    ),
)  # fmt: skip

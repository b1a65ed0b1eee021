"""Fuzzes what names a resource: URLs and hosts against other readers of them, and request keys."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import socket
from urllib.parse import unquote, urlsplit

from hermit_proxy.request.key import Request, acceptability, normalise_header, vary_of
from hermit_proxy.request.target import (
    DEFAULT_PORTS,
    BadTargetError,
    Target,
    parse_authority,
    parse_host,
    parse_url,
)
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from tests.fuzz.case import Case, attempt, lines_of

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


URLS = (
    b"http://files.example.org/",
    b"HTTPS://Files.Example.ORG.:443/a/./b/../c//d?x=1&y=%7E%2f",
    b"http://[::1]:8080/%2e%2e/x",
    b"http://192.0.2.1/%252e%252e/a",
    b"https://xn--bcher-kva.example.org/\xc3\xa9?\xe9",
    b"http://user@files.example.org/",
    b"http://0x7f.1/",
    b"http://127.1/",
    b"http://[::ffff:127.0.0.1]/",
    b"http://[fe80::1%25eth0]/",
    b"http://a_b.example.org:65535?q",
    b"https://files.example.org/a;..;/b",
    b"http://files.example.org/%c0%ae%c0%ae/",
    b"http://files.example.org/a%5c..%5Cb",
)
URL_WORDS = (
    b"://",
    b"//",
    b"/../",
    b"/./",
    b"%2e",
    b"%2F",
    b"%5c",
    b"%25",
    b"%252e",
    b"%c0%ae",
    b"\\",
    b"@",
    b":",
    b":80",
    b":443",
    b":0443",
    b"[",
    b"]",
    b"::",
    b"0x",
    b"0177.",
    b"127.0.0.1",
    b"1.",
    b".",
    b"?",
    b"#",
    b";",
    b"%00",
    b"\t",
    b" ",
    b"%",
    b"\xe3\x80\x82",
)

CASES = (
    Case("target", target, URLS, URL_WORDS, 600),
    Case(
        "key",
        key,
        [
            (
                b"GET https://files.example.org/v2/a\nhttps://files.example.org/v2/a\n"
                b"<accept: application/vnd.oci.image.index.v1+json, */*;q=0.1\n>accept: */*\n>method: HEAD\n"
                b"=vary: Accept\n=content-type: application/vnd.oci.image.index.v1+json"
            ),
            (
                b"GET https://files.example.org/a?b=c\nhttps://files.example.org/a?b=c\n<git-protocol: version=2\n"
                b">git-protocol: version=1"
            ),
            (
                b"POST https://files.example.org/a\n\n<accept-language: de , en;q=0.5\n=vary: accept-language,accept\n"
                b">accept-language: DE, en;q=0.5"
            ),
        ],
        (
            b"\n<accept: ",
            b"\n>accept: ",
            b"\n=vary: *",
            b"\n>method: HEAD",
            b"q=0.5",
            b"q=nan",
            b"q=1_0",
            b"*/*",
            b", ",
            b";",
            b"application/vnd.",
        ),
        800,
    ),
)

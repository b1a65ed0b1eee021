"""Fuzzes the one reader of request heads against h11, llhttp and urllib: what it takes, they read the same way."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

import httptools

from hermit_proxy.recorder.head import BadHeadError, Tunnel, read_head
from hermit_proxy.replayer.inbox import joined
from tests.fuzz.case import Case, attempt
from tests.fuzz.framing import heard

_TUNNELS = (
    None,
    Tunnel("files.example.org", 443, tls=True),
    Tunnel("files.example.org", 8080, tls=False),
    Tunnel("files.example.org", 443, tls=True, fault="SNI names another host"),
)


class _Parsed:
    """Is what llhttp tells of a head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))


def head(data: bytes) -> bool:
    if not data:
        return False
    tunnel, raw = _TUNNELS[data[0] % len(_TUNNELS)], data[1:]
    found = attempt(lambda: read_head(raw, tunnel), BadHeadError)
    if found is None:
        return False
    assert tunnel is None or tunnel.fault is None
    whole = raw + b"\r\n\r\n"
    headers = joined(whole)
    length = int(headers.get("content-length", "0"))
    body = b"0\r\n\r\n" if "transfer-encoding" in headers else b"x" * length if length < 10_000 else b""
    if length < 10_000:
        seen = heard(whole + body)
        assert len(seen) == 1, "h11 refuses the head"
        assert seen[0].method.decode() == found.method
        assert seen[0].rest == b""
        assert len(seen[0].body) == (length if "content-length" in headers else 0)
    _check_llhttp(whole, found.method)
    if found.connect is not None:
        host, port = found.connect
        assert urlsplit(f"//{raw.split(b' ')[1].decode('latin-1')}").port == port
    elif tunnel is not None:
        assert found.target is not None
        host, port = tunnel.host, tunnel.port
        assert (found.target.host, found.target.port) == (host, port)
    else:
        assert found.target is not None
        split = urlsplit(raw.split(b" ")[1].decode("latin-1"))
        assert (split.hostname or "").removesuffix(".").strip("[]") == found.target.host or ":" in found.target.host
        host, port = found.target.host, found.target.port
        assert (split.port or 80) == port
    if "host" in headers and ":" not in host:
        named = urlsplit(f"//{headers['host']}")
        assert (named.hostname or "").removesuffix(".") == host
        assert named.port in {None, port}
    return True


def _check_llhttp(whole: bytes, method: str) -> None:
    line = whole.partition(b"\r\n")[0]
    if method not in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT"} or not line.isascii():
        return  # it knows no others, and no octets above 127
    if any(byte in line for byte in b'"<>^`{|}'):
        return
    parsed = _Parsed()
    parser = httptools.HttpRequestParser(parsed)
    with suppress(httptools.HttpParserUpgrade):
        parser.feed_data(whole)
    assert parsed.url == line.split(b" ")[1]
    told = {name.decode("latin-1") for name, _ in parsed.headers}
    assert told == set(joined(whole))


_GET = b"GET http://files.example.org/a HTTP/1.1\r\nHost: files.example.org"
SEEDS = (
    b"\0" + _GET,
    b"\0" + _GET + b"\r\nContent-Length: 3\r\nExpect: 100-continue",
    b"\0" + _GET + b"\r\nTransfer-Encoding: chunked",
    b"\1GET /a%2Fb?x=1 HTTP/1.1\r\nHost: files.example.org:443\r\nAccept: */*\r\nConnection: close",
    b"\2GET / HTTP/1.1\r\nhost:files.example.org:8080",
    b"\0CONNECT files.example.org:443 HTTP/1.1\r\nHost: files.example.org:443",
    b"\0CONNECT [::1]:443 HTTP/1.0",
    b"\3GET / HTTP/1.1\r\nHost: a",
    b"\0GET http://files.example.org HTTP/1.0",
    b"\0" + _GET + b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA",
    b"\0" + _GET + b"\r\nUpgrade: websocket",
    b"\0OPTIONS * HTTP/1.1\r\nHost: files.example.org",
    b"\0" + _GET + b"\r\nX: a\xe9\tb ",
)
WORDS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"\r\n ",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"Host: ",
    b"\r\nHost: files.example.org",
    b"Content-Length: ",
    b"\r\nContent-Length: 0",
    b"Transfer-Encoding: chunked",
    b"\r\nTransfer-Encoding: identity",
    b"chunked, ",
    b"\x0b",
    b"+1",
    b"Expect: 100-continue",
    b"Upgrade: ",
    b"h2c",
    b"websocket",
    b"Connection: close",
    b"CONNECT ",
    b"HEAD ",
    b"PRI * ",
    b"http://",
    b"https://",
    b"files.example.org",
    b":443",
    b":80",
    b"@",
    b"[::1]",
    b"%2e%2e/",
    b"..",
    b"\xc3\xa9",
    b" : ",
    b"hermit.internal",
    b"#",
    b"\\",
)
CASES = (Case("head", head, SEEDS, WORDS, 1500),)

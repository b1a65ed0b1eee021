"""Reads the head of a client's request so strictly that no server can read another request out of the same bytes.

mitmproxy's reader takes bare line feeds, folded lines and several spellings of a target (RFC 9112 sections
2.2, 3, 5 and 11.2 say what comes of that), so it gets to see only what has passed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from hermit_proxy.request.target import (
    DEFAULT_PORTS,
    INTERNAL_HOST,
    BadTargetError,
    Target,
    parse_authority,
    parse_target,
    parse_url,
)

MAX_HEAD = 64 * 1024
MAX_HEADERS = 100

# Methods are told apart by case (RFC 9110 section 9.1), and all that anyone uses are capitals.
_REQUEST_LINE = re.compile(rb"([A-Z][A-Z-]{0,31}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):((?:[^\x00-\x08\x0a-\x1f\x7f])*)")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
# HTTP/2's preface looks like a request of HTTP/1; it is none.
_PREFACE = b"PRI"


class BadHeadError(ValueError):
    """Is raised for a request that is not answered but with `status`; the connection ends."""

    def __init__(self, status: int, reason: str) -> None:
        """Take the status to answer with and what is wrong, in words."""
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Is what a CONNECT has agreed on, normalised; `tls` says whether TLS is spoken inside.

    `fault` is there when the tunnel itself is wrong (SNI names another host): all requests in it are refused.
    """

    host: str
    port: int
    tls: bool
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """Is the part of a request's head that decides: `target` for a request, `connect` (host, port) for CONNECT."""

    method: str
    target: Target | None
    connect: tuple[str, int] | None = None

    @property
    def internal(self) -> bool:
        """Tell whether it asks the reserved host in the one way that is answered: plain http, its own port."""
        return self.target is not None and is_internal(self.target)


def is_internal(target: Target) -> bool:
    """Tell whether a target is at hermit.internal as it is served: its bodies are streamed and bounded by a setting."""
    return (target.scheme, target.host, target.port) == ("http", INTERNAL_HOST, DEFAULT_PORTS["http"])


def read_head(raw: bytes, tunnel: Tunnel | None) -> Head:
    """Read a head without its last empty line (lines end with CR LF); raise BadHeadError for anything doubtful."""
    if b"\0" in raw or raw.count(b"\n") != raw.count(b"\r\n") or raw.count(b"\r") != raw.count(b"\r\n"):
        _bad("a NUL, or a line that does not end with CR LF")
    first, *rest = raw.split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None or line[1] == _PREFACE:
        _bad("not a request line of HTTP/1.0 or HTTP/1.1")
    method, target_text = line[1].decode("ascii"), line[2].decode("latin-1")
    headers = _read_headers(rest)
    _check_framing(headers, http10=line[3] == b"0")
    _check_upgrade(headers)
    if tunnel is not None and tunnel.fault is not None:
        raise BadHeadError(403, tunnel.fault)
    hosts = headers.get(b"host", [])
    if len(hosts) > 1:
        _bad("more than one Host")
    host = hosts[0].decode("latin-1") if hosts else None
    try:
        return _read_target(method, target_text, host, tunnel, http10=line[3] == b"0")
    except BadTargetError as error:
        raise BadHeadError(400, str(error)) from error


def _read_headers(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    if len(lines) > MAX_HEADERS:
        raise BadHeadError(431, f"more than {MAX_HEADERS} headers")
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            _bad("a header that is not `name: value` on one line")
        name = header[1].lower()
        # Parsers differ about a tab beside a coding, and framing must not differ: there it stays and is refused.
        blanks = b" " if name == b"transfer-encoding" else b" \t"
        headers.setdefault(name, []).append(header[2].strip(blanks))
    return headers


def _check_framing(headers: dict[bytes, list[bytes]], *, http10: bool) -> None:
    lengths, codings = headers.get(b"content-length", []), headers.get(b"transfer-encoding", [])
    if lengths and codings:
        _bad("both Content-Length and Transfer-Encoding")
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        _bad("a Content-Length that is not one number")
    if codings and ([coding.lower() for coding in codings] != [b"chunked"] or http10):
        _bad("a Transfer-Encoding other than `chunked`, or in HTTP/1.0")
    if any(value.lower() != b"100-continue" for value in headers.get(b"expect", [])):
        raise BadHeadError(417, "an Expect other than `100-continue`")


def _check_upgrade(headers: dict[bytes, list[bytes]]) -> None:
    # h2c is an offer that a server may pass over, and so does the proxy (WIRE row 14); a websocket is asked for.
    wanted = b", ".join(headers.get(b"upgrade", [])).lower()
    if wanted and {part.strip() for part in wanted.split(b",")} != {b"h2c"}:
        raise BadHeadError(403, f"an upgrade to {wanted.decode('latin-1')[:40]}: only HTTP/1.1 can be recorded")


def _read_target(method: str, text: str, host: str | None, tunnel: Tunnel | None, *, http10: bool) -> Head:
    if method == "CONNECT":
        if tunnel is not None:
            _bad("CONNECT inside a tunnel")
        connect = parse_authority(text, default_port=None)
        # Python before 3.12 sends no Host with CONNECT, others send it without the port.
        if host is not None and parse_authority(host, default_port=connect[1]) != connect:
            _disagree(text, host)
        return Head(method, None, connect)
    if host is None and not (http10 and tunnel is None):
        _bad("no Host")
    if tunnel is None:
        if not text.lower().startswith("http://"):
            _bad("a proxy is asked with `http://host/path`, or with CONNECT for https")
        target = parse_url(text)
        if host is not None and parse_authority(host, default_port=80) != (target.host, target.port):
            _disagree(target.authority, host)
        return Head(method, target)
    scheme = "https" if tunnel.tls else "http"
    if not text.startswith("/"):
        _bad("in a tunnel a request names a path")
    if parse_authority(host or "", default_port=DEFAULT_PORTS[scheme]) != (tunnel.host, tunnel.port):
        _disagree(f"{tunnel.host}:{tunnel.port}", host or "")
    return Head(method, parse_target(scheme, tunnel.host, tunnel.port, text))


def _disagree(target: str, host: str) -> NoReturn:
    _bad(f"target and Host disagree: {target[:260]!r} and {host[:260]!r}")


def _bad(reason: str) -> NoReturn:
    raise BadHeadError(400, reason)

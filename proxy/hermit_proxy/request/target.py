"""Turns what a client asks for into one spelling, so that rule, key and wire all speak of the same resource."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn
from urllib.parse import unquote_to_bytes

DEFAULT_PORTS = {"http": 80, "https": 443}
INTERNAL_HOST = "hermit.internal"

# A file in .hermit/network is named after the host: 255 bytes less the port and the ending.
_MAX_HOST = 240
_MAX_TARGET = 16 * 1024
# Longer ones are parsed each time: what a build sends must not fill the proxy's memory.
_MAX_CACHED = 512
# Hosts whose reading is remembered: what is no host is not, so each of them is short.
_KNOWN = 1024
_MAX_TOLD = 200
# Nobody escapes an escape that often in earnest, and each further layer costs a pass.
_MAX_LAYERS = 8
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[0-9]{1,5}")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Raw characters that RFC 3986 does not allow but clients send: they go on as escapes.
_ESCAPED_RAW = re.compile(r'["<>^`{|}\x80-\xff]')
# A slash or backslash as a server may read it that decodes once more often than it should.
_HIDDEN_SLASH = re.compile(r"%(?:25)*(?:2F|5C)", re.IGNORECASE)
# Overlong UTF-8, which no encoder writes and old decoders take for `.`, `/` and a backslash (RFC 3629 section 10).
_OVERLONG = ((b"\xc0\xae", b"."), (b"\xc0\xaf", b"/"), (b"\xc1\x9c", b"\\"))
_REFUSED_RAW = re.compile(r"[\x00-\x20\x7f\\#]")


class BadTargetError(ValueError):
    """Is raised for a host, port or path that has no single safe meaning; the request is refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """Is the resource that a request names, normalised once.

    `host` is lower case ASCII without a trailing dot, or an IP literal (IPv6 without brackets);
    `path` starts with a slash; `query` is None where there is no question mark.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    @property
    def authority(self) -> str:
        """Give host and port as a URL has them: no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if DEFAULT_PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    @property
    def request_target(self) -> str:
        """Give path and query as they go on the wire (origin-form, RFC 9112 section 3.2.1)."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def url(self) -> str:
        """Give the whole URL."""
        return f"{self.scheme}://{self.authority}{self.request_target}"

    @property
    def path_as_slashes(self) -> str:
        """Give the path as a server would see it that reads %2F as a slash, and folds the slashes that come of it.

        Backslashes and deeper layers of escapes (%252F) count too. A rule has to say the same of both spellings
        (see docs/decisions/encoded-slashes.md).
        """
        return _resolve(_HIDDEN_SLASH.sub("/", self.path)) if "%" in self.path else self.path


@lru_cache(maxsize=_KNOWN)
def parse_host(text: str) -> str:
    """Normalise a host name or an IP literal (IPv6 in brackets); raise BadTargetError for anything else.

    Numbers are dotted quads or nothing: 127.1, 0x7f000001 and 2130706433 are spellings that resolvers
    turn into addresses behind a checker's back (WHATWG URL, "ends in a number").
    """
    if text.startswith("[") and text.endswith("]"):
        try:
            address = ipaddress.IPv6Address(text[1:-1])
        except ValueError as error:
            raise BadTargetError(f"not an IPv6 address: {text[:_MAX_TOLD]!r}") from error
        if address.scope_id is not None:
            _bad("an address with a zone", text)
        if address.ipv4_mapped is not None:
            # Python 3.13 and older ones also spell it differently, and a spelling is a file name and a key.
            _bad("an IPv4 address in IPv6 clothes", text)
        return str(address)
    if not text.isascii():
        _bad("a host name is ASCII (xn--… for others)", text)  # U+212A is `k` in lower case
    host = text.lower()
    host = host.removesuffix(".")
    if not host or len(host) > _MAX_HOST:
        _bad(f"a host name has 1 to {_MAX_HOST} characters, this one has", str(len(host)))
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise BadTargetError(f"not a dotted-quad IPv4 address: {text!r}") from error
    if not all(_LABEL.fullmatch(label) for label in labels):
        _bad("not a host name", text)
    return host


@lru_cache(maxsize=_KNOWN)
def parse_authority(text: str, *, default_port: int | None) -> tuple[str, int]:
    """Split and normalise `host[:port]` (RFC 3986 section 3.2 without user info).

    With `default_port=None` the port must be there, as in a CONNECT request (RFC 9110 section 9.3.6).
    """
    if "@" in text:
        raise BadTargetError("user name or password before a host")
    if text.startswith("["):
        name, bracket, rest = text.partition("]")
        host_text, colon, port_text = name + bracket, rest[:1], rest[1:]
        if rest and colon != ":":
            _bad("not a host and port", text)
    else:
        host_text, colon, port_text = text.partition(":")
    host = parse_host(host_text)
    if not colon or not port_text:
        if default_port is None:
            _bad("the port is missing", text)
        return host, default_port or 0
    if not _PORT.fullmatch(port_text) or not 1 <= int(port_text) <= 65535:  # noqa: PLR2004  the range of a port
        _bad("not a port", text)
    return host, int(port_text)


def parse_target(scheme: str, host: str, port: int, request_target: str) -> Target:
    """Normalise an origin-form request target for a host and port that are already normalised.

    Escapes of unreserved characters are decoded, other escapes get upper-case digits, dot segments and
    empty segments are resolved, once. %2F stays %2F: it is not a slash (RFC 3986 section 2.2). A path in
    which dot segments hide behind further layers of escapes is refused, because a server that decodes
    more than once would leave the folder that a rule has admitted. Characters stand for octets (latin-1); messages
    never quote a query, which may hold a secret.
    """
    if len(request_target) <= _MAX_CACHED:
        return _parse_cached(scheme, host, port, request_target)
    return _parse(scheme, host, port, request_target)


def _parse(scheme: str, host: str, port: int, request_target: str) -> Target:
    if scheme not in DEFAULT_PORTS:
        _bad("not http or https", scheme)
    if not request_target.startswith("/"):
        _bad("a path starts with a slash", request_target.partition("?")[0])
    if len(request_target) > _MAX_TARGET:
        _bad("longer than 16 KiB", request_target.partition("?")[0])
    raw_path, question, raw_query = request_target.partition("?")
    path = _resolve(_normalise_escapes(raw_path, "the path"))
    if _climbs(path):
        _bad("dot segments behind escapes", raw_path)
    query = _normalise_escapes(raw_query, "the query") if question else None
    if len(path) + len(query or "") >= _MAX_TARGET:
        _bad("longer than 16 KiB when escaped", raw_path)  # else the result would not be its own normal form
    return Target(scheme, host, port, path, query)


_parse_cached = lru_cache(maxsize=16384)(_parse)


def parse_url(url: str) -> Target:
    """Normalise an absolute http or https URL; user info and fragments are refused."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        _bad("not an http or https URL", url.partition(":")[0])
    cut = next((i for i, character in enumerate(rest) if character in "/?#"), len(rest))
    host, port = parse_authority(rest[:cut], default_port=DEFAULT_PORTS[scheme])
    tail = rest[cut:]
    return parse_target(scheme, host, port, tail if tail.startswith("/") else f"/{tail}")


def host_file_name(target: Target) -> str:
    """Name the snapshot file of a target's host.

    A port that is not the scheme's own is set apart by `+`, and IPv6 literals are marked by `ip6+`:
    neither character occurs in a host name, so two hosts never share a file.
    """
    host = "ip6+" + target.host.replace(":", "-") if ":" in target.host else target.host
    port = "" if DEFAULT_PORTS[target.scheme] == target.port else f"+{target.port}"
    return f"{host}{port}.yaml"


def _normalise_escapes(text: str, where: str) -> str:
    if refused := _REFUSED_RAW.search(text):
        _bad(f"a character that {where} cannot have", refused.group())
    if not text.isascii() or _ESCAPED_RAW.search(text):
        try:
            octets = text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise BadTargetError(f"not octets: {text[error.start]!r} in {where}") from error
        text = _ESCAPED_RAW.sub(lambda found: f"%{ord(found.group()):02X}", octets.decode("latin-1"))
    if "%" not in text:
        return text
    return _ESCAPE.sub(_normalise_escape, text)


def _normalise_escape(found: re.Match[str]) -> str:
    digits = found.group(1)
    if digits is None:
        return "%25"
    value = int(digits, 16)
    if value < 0x20 or value == 0x7F:  # noqa: PLR2004  control characters
        _bad("a control character behind an escape", found.group())
    return chr(value) if value in _UNRESERVED else f"%{digits.upper()}"


def _resolve(path: str) -> str:
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in {"", "."}:
            kept.append(segment)
    folder = "/" if segments[-1] in {"", ".", ".."} and kept else ""
    return "/" + "/".join(kept) + folder


def _climbs(path: str) -> bool:
    octets = path.encode("ascii")
    for _ in range(_MAX_LAYERS):
        if _has_dot_segment(octets):
            return True
        decoded = unquote_to_bytes(octets)
        if decoded == octets:
            return False
        octets = decoded
    return True


def _has_dot_segment(octets: bytes) -> bool:
    for overlong, plain in _OVERLONG:
        octets = octets.replace(overlong, plain)
    # A servlet container drops everything from `;` before it looks for dots.
    segments = (segment.partition(b";")[0] for segment in octets.replace(b"\\", b"/").split(b"/"))
    return any(segment in {b".", b".."} for segment in segments)


def _bad(reason: str, text: str) -> NoReturn:
    told = text if len(text) <= _MAX_TOLD else text[:_MAX_TOLD] + "…"
    raise BadTargetError(f"{reason}: {told!r}")

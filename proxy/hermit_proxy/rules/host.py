"""Reads the part of a pattern before its first slash, where a dot is a dot and a port has to be written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hermit_proxy.request.target import DEFAULT_PORTS, BadTargetError, parse_host
from hermit_proxy.rules.expression import compile_re2, pieces

_QUANTIFIERS = frozenset("*+?{")
_IPV6 = re.compile(r"\\?\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\\?\](?=:|$)")
_HOST_CHARACTERS = re.compile(r"[A-Za-z0-9_.*+?{},()|-]")
_HOST_ESCAPES = re.compile(r"\\[.\-_dw]")
_PORT_CHARACTERS = re.compile(r"[0-9.*+?{},()|]")
_META = re.compile(r"[\\*+?{}()|\[\]]")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """Is a compiled host with a port, or without one for the scheme's own; `literal` is the host if it is only one."""

    literal: str | None
    _host: Any
    _port: Any

    @property
    def size(self) -> int:
        """Count RE2's instructions."""
        return sum(int(part.programsize) for part in (self._host, self._port) if part is not None)

    def matches(self, scheme: str, host: str, port: int) -> bool:
        """Tell whether a normalised host and port are admitted."""
        if self._port is None:
            if DEFAULT_PORTS.get(scheme) != port:
                return False
        elif not self._port.fullmatch(str(port).encode()):
            return False
        return host == self.literal if self.literal is not None else bool(self._host.fullmatch(host.encode("ascii")))


def compile_host(text: str) -> HostPattern:
    """Compile `host[:port]` of a pattern; raise ValueError with words for a person."""
    if not text:
        raise ValueError("no host: a pattern is host, slash, path (`host.example.org/.*`)")
    if found := _IPV6.match(text):
        literal, rest = _parse_literal(f"[{found.group(1)}]"), text[found.end() :]
        return HostPattern(literal, None, _compile_port(rest[1:]) if rest else None)
    host, port = _split_port(text)
    compiled_port = None if port is None else _compile_port(port)
    plain = host.replace(r"\.", ".").replace(r"\-", "-")
    if not _META.search(plain):
        return HostPattern(_parse_literal(plain), None, compiled_port)
    translated = _translate(host, "host", _HOST_CHARACTERS, _HOST_ESCAPES, wildcard=".")
    return HostPattern(None, compile_re2(translated, ignore_case=True), compiled_port)


def _parse_literal(text: str) -> str:
    try:
        return parse_host(text)
    except BadTargetError as error:
        raise ValueError(f"{error}: no request has such a host") from error


def _split_port(text: str) -> tuple[str, str | None]:
    depth, before = 0, ""
    for position, piece in pieces(text):
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif piece in {":", r"\:"} and before != "(?":
            if depth > 0:
                raise ValueError("a port in a group: write it behind the host, as `:8080` or `:(80|8080)`")
            return text[:position], text[position + len(piece) :]
        before = before[-1:] + piece
    return text, None


def _compile_port(text: str) -> Any:
    if not text:
        raise ValueError("a colon without a port: leave it out for the scheme's own port")
    return compile_re2(_translate(text, "port", _PORT_CHARACTERS, re.compile(r"\\d"), wildcard="[0-9]"))


def _translate(text: str, what: str, characters: re.Pattern[str], escapes: re.Pattern[str], *, wildcard: str) -> str:
    """Make dots literal unless a quantifier follows, and refuse what has no meaning in a host or port."""
    parts = pieces(text)
    result: list[str] = []
    for index, (position, piece) in enumerate(parts):
        following = parts[index + 1][1] if index + 1 < len(parts) else ""
        if piece == ".":
            result.append(wildcard if following in _QUANTIFIERS else r"\.")
        elif piece == ":" and result[-2:] == ["(", "?"]:
            result.append(piece)
        elif piece.startswith("[") or escapes.fullmatch(piece) or characters.fullmatch(piece):
            if piece == "?" and result[-1:] == ["("] and following != ":":
                raise ValueError(f"`(?{following}` has no meaning in a {what}: hosts are compared in lower case")
            result.append(piece)
        else:
            raise ValueError(f"`{piece}` at position {position + 1} has no meaning in a {what}")
    return "".join(result)

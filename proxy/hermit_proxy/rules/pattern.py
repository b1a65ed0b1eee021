"""Reads the patterns of rules: host and path apart, whole, by RE2, so that none admits a neighbour or hangs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hermit_proxy.request.target import INTERNAL_HOST, Target
from hermit_proxy.rules.expression import compile_re2, pieces
from hermit_proxy.rules.host import HostPattern, compile_host

MAX_LENGTH = 2048
_SCHEME = re.compile(r"\^?\(?https?(:|\?)")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Is a compiled pattern; `text` is what stands in the file.

    `literal_host` is the one host it admits where it names one without wildcards, else None.
    """

    text: str
    _host: HostPattern = field(compare=False, repr=False)
    _path: Any = field(compare=False, repr=False)

    @property
    def size(self) -> int:
        """Count RE2's instructions: the longest path, 16 KiB, takes at most 0.1 ms for each (see MAX_PROGRAM)."""
        return self._host.size + int(self._path.programsize)

    @property
    def literal_host(self) -> str | None:
        """Give the host where the pattern names exactly one."""
        return self._host.literal

    def matches_host(self, scheme: str, host: str, port: int) -> bool:
        """Tell whether the part before the first slash admits a host and port."""
        return self._host.matches(scheme, host, port)

    def matches(self, target: Target, path: str) -> bool:
        """Tell whether the pattern admits the target's host with this spelling of its path."""
        return self.matches_host(target.scheme, target.host, target.port) and bool(
            self._path.fullmatch(path.encode("ascii"))
        )


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern of a rule; raise ValueError that says what is wrong and what to write."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a pattern has at most {MAX_LENGTH} characters, this one has {len(text)}")
    for position, character in enumerate(text, 1):
        if not " " < character < "\x7f":
            raise ValueError(f"character {character!r} at position {position}: a URL has it as an escape (%20, %C3%A9)")
    if _SCHEME.match(text) and "//" in text:
        raise ValueError("a pattern starts with the host; the scheme has a key of its own (`scheme: https`)")
    host, path = _split(text)
    _check_path(path)
    compiled = Pattern(text, compile_host(host), compile_re2(path))
    if compiled.literal_host == INTERNAL_HOST:
        raise ValueError(f"{INTERNAL_HOST} is the proxy itself; no rule admits or rejects it")
    return compiled


def unanchored_v1_match(text: str, host_path: str) -> bool:
    """Tell whether the first Hermit would have matched: anywhere in `host/path`, every dot a wildcard."""
    try:
        return bool(compile_re2(text).search(host_path.encode("ascii", "replace")))
    except ValueError:
        return False


def _split(text: str) -> tuple[str, str]:
    """Cut at the first slash; it may stand in no group or class, and no alternative may stand beside groups."""
    cut, depth = None, 0
    for position, piece in pieces(text):
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif piece == "|" and depth == 0:
            raise ValueError(f"`|` at position {position + 1} outside of a group: write two rules, or `(a|b)`")
        elif piece in {"/", r"\/"} and cut is None:
            if depth > 0:
                where = f"slash at position {position + 1} in a group"
                raise ValueError(f"{where}: the host is matched apart; write two rules")
            cut = position
    if cut is None:
        raise ValueError("no path: a pattern is host, slash, path; all of a host is `host.example.org/.*`")
    return text[:cut].removeprefix("^"), text[cut:]


def _check_path(path: str) -> None:
    for position, piece in pieces(path):
        if piece in {r"\?", "#", r"\#"}:
            where = f"`{piece}` at position {position + 1} of the path"
            raise ValueError(f"{where}: a pattern ends before the query, which has a key of its own (`query: ignore`)")
        if piece in {r"\Q", r"\E"}:
            raise ValueError(rf"`{piece}` is not understood; write a backslash before each character")
    for found in _ESCAPE.findall(path):
        value = chr(int(found[1:], 16))
        if value in _UNRESERVED:
            raise ValueError(f"`{found}` never occurs: the proxy decodes it; write `{re.escape(value)}`")
        if found != found.upper():
            raise ValueError(f"`{found}` never occurs: escapes are in capitals; write `{found.upper()}`")

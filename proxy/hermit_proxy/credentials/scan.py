"""Finds a secret in what a server sends back, in the spellings in which servers reflect what they were sent."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from hermit_proxy.errors import HermitError
from hermit_proxy.rules.expression import compile_literals

# Base64 writes three octets as four characters; where a secret starts within the three decides its spelling.
_GROUP = 3
_BITS = 6


class SecretFoundError(HermitError):
    """Is raised when a response contains a secret; it never says which or where."""


def spellings(secret: bytes) -> frozenset[bytes]:
    """Give the octets that betray a secret: raw, percent-encoded, hexadecimal, base64 at any offset, JSON, HTML."""
    text = secret.decode("latin-1")
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for safe in ("", "/", "-._~!$&'()*+,;=:@/"):
        escaped = quote(secret, safe=safe)
        found |= {escaped.encode(), _lower_escapes(escaped).encode(), escaped.replace("%20", "+").encode()}
    quoted = json.dumps(text)[1:-1]
    found |= {quoted.encode("latin-1"), quoted.replace("/", "\\/").encode("latin-1")}
    found |= {html.escape(text).encode("latin-1"), html.escape(text, quote=False).encode("latin-1")}
    for offset in range(_GROUP):
        inner = _base64_at(secret, offset)
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return frozenset(found)


def _base64_at(secret: bytes, offset: int) -> bytes:
    """Give the characters that depend on nothing but the secret when it starts at this offset of a longer text."""
    encoded = base64.b64encode(b"\0" * offset + secret)
    first = -(-offset * 8 // _BITS)
    return encoded[first : (offset + len(secret)) * 8 // _BITS]


def _lower_escapes(text: str) -> str:
    return "".join(
        character.lower() if "%" in text[max(0, position - 2) : position] else character
        for position, character in enumerate(text)
    )


class SecretScanner:
    """Passes a body through and stops before the first octet of a secret.

    States: passing -> finished, or passing -> found (every later call raises again). Held back is only what may be the
    beginning of a secret, so that a slow answer is not delayed.
    """

    def __init__(self, needles: Iterable[bytes]) -> None:
        """Take the spellings to look for (Bindings.secrets()); without any, everything passes."""
        self._needles = tuple(needle for needle in needles if needle)
        self._pattern: Any = compile_literals(self._needles) if self._needles else None
        self._longest = max(map(len, self._needles), default=1)
        self._firsts = frozenset(needle[0] for needle in self._needles)
        self._held = b""
        self._found = False

    def __repr__(self) -> str:
        """Say nothing of what is looked for."""
        return "SecretScanner()"

    def feed(self, chunk: bytes) -> bytes:
        """Take the next octets and give those that may go on; raise SecretFoundError."""
        if self._pattern is None:
            return chunk
        data = self._held + chunk if self._held else chunk
        if self._found or self._pattern.search(data) is not None:
            self._found = True
            self._held = b""
            raise SecretFoundError("the answer contains the secret that was sent for it")
        keep = self._suspicious(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def finish(self) -> bytes:
        """Give what was held back; the body has ended, so that it is no secret."""
        if self._found:
            raise SecretFoundError("the answer contains the secret that was sent for it")
        held, self._held = self._held, b""
        return held

    def _suspicious(self, data: bytes) -> int:
        """Count the octets at the end that are the beginning of a secret."""
        tail = data[-(self._longest - 1) :] if self._longest > 1 else b""
        for start, octet in enumerate(tail):
            if octet in self._firsts and any(needle.startswith(tail[start:]) for needle in self._needles):
                return len(tail) - start
        return 0


def contains(data: bytes, needles: Iterable[bytes]) -> bool:
    """Tell whether a text in one piece, a header for example, has a secret in it."""
    return any(needle in data for needle in needles)

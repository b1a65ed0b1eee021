"""Reads the values that stand in several places of an operator's files: addresses, names, secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from hermit_proxy.closedyaml.file import Node, excerpt, read_bytes
from hermit_proxy.closedyaml.reader import Reader
from hermit_proxy.errors import InputError

Value = TypeVar("Value")

_MAX_SECRET = 8192
_VISIBLE = re.compile(rb"[\x21-\x7e]+")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Secret:
    """Is a secret and the file that it stands in; its value appears in no repr and no message."""

    path: Path
    value: bytes = field(repr=False)


def read_secret(reader: Reader, node: Node | None, what: str, *, least: int) -> Secret | None:
    """Read the path of a secret, and the one line of at least `least` characters that its file has.

    The file has to be the master's own or root's, and closed to others.
    """
    path = reader.expect_path(node, what)
    if path is None:
        return None
    try:
        value = read_bytes(path, limit_bytes=_MAX_SECRET, private=True).removesuffix(b"\n").removesuffix(b"\r")
    except InputError as error:
        for mistake in error.mistakes:
            reader.mistake(node, f"{what}: {mistake}")
        return None
    if len(value) < least or not _VISIBLE.fullmatch(value):
        # What the file has is never part of a message.
        wanted = f"one line of at least {least} printable ASCII characters without spaces"
        reader.mistake(node, f"{what}: {path}: expected {wanted}")
        return None
    return Secret(path, value)


def read_named(reader: Reader, node: Node | None, what: str, parse: Callable[[str], Value]) -> Value | None:
    """Read a text that a parser takes; what its ValueError says is the mistake."""
    text = reader.expect_str(node, what)
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        reader.mistake(node, f"{what}: {error}")
        return None


def split_url(text: str) -> SplitResult:
    """Take a URL apart that has no secret and nothing invisible in it; raise ValueError."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"expected a URL of printable ASCII; found {excerpt(text)}")
    parts = urlsplit(text)
    if parts.password is not None:
        raise ValueError("a password in a URL; name a file with the secret instead")
    if parts.query or parts.fragment:
        raise ValueError(f"expected a URL without `?` and `#`; found {excerpt(text)}")
    if parts.port == 0:
        raise ValueError("there is no port 0")
    return parts


def parse_address(text: str) -> str:
    """Take the address of a service on the web, with a slash at its end; raise ValueError."""
    parts = split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError(f"expected `https://host/`; found {excerpt(text)}")
    return text.removesuffix("/") + "/"


def is_safe(parts: SplitResult) -> bool:
    """Tell whether a secret may be sent to a URL: over TLS or ssh, or not out of this machine."""
    return parts.scheme in {"https", "ssh"} or (parts.scheme == "http" and parts.hostname in _LOOPBACK)

"""Makes the snapshot's entry from a request and what upstream answered: a pure function of both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from hermit_proxy.recorder.signatures import redacted
from hermit_proxy.recorder.sink import PRELUDE
from hermit_proxy.request.key import Request, vary_of
from hermit_proxy.snapshot.check import MAX_SIZE, value_fits
from hermit_proxy.snapshot.entry import KEPT_HEADERS, Entry

_NEGATIVE_HEADERS = frozenset({"docker-distribution-api-version", "location", "www-authenticate"})
_MAX_VALUE = 8192
# A user and perhaps a password before a host, anywhere in a Location or Link.
USER_INFO = re.compile(r"//[^/?#\s>]*@")
_CHALLENGE_PART = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*)\s*(,|$)')
_CHALLENGE_KEPT = frozenset({"realm", "service", "scope", "charset", "error"})


def is_negative(status: int) -> bool:
    """Tell whether it is recorded without its body."""
    return 400 <= status <= 499  # noqa: PLR2004  4xx


def may_be_token(status: int, content_type: str | None) -> bool:
    """Tell whether an answer has to be looked at before it may be stored."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return status == 200 and media_type.endswith(("/json", "+json"))  # noqa: PLR2004  OK


def is_token(body: bytes | None) -> bool:
    """Tell whether a body (None for one that is too large) is a token server's answer (docs/decisions)."""
    if body is None or len(body) > PRELUDE or b"token" not in body:
        return False
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and any(isinstance(answer.get(name), str) for name in ("token", "access_token"))


def entry_for(  # noqa: PLR0913  the parts of an answer
    request: Request,
    key_url: str,
    status: int,
    headers: Mapping[str, str],
    *,
    sha256: str | None = None,
    size: int | None = None,
) -> Entry:
    """Make the entry of an answer; `headers` have lower-case names, digest and size are the body's as it came."""
    content_type = headers.get("content-type")
    kept = _kept(headers, _NEGATIVE_HEADERS if is_negative(status) else KEPT_HEADERS)
    if is_negative(status):
        sha256 = size = None
    elif request.method == "HEAD":
        announced = headers.get("content-length", "")
        sized = re.fullmatch(r"[0-9]{1,18}", announced) is not None and int(announced) <= MAX_SIZE
        sha256, size = None, int(announced) if sized else None
    return Entry(
        method=request.method,
        url=key_url,
        status=status,
        body=request.body,
        vary=vary_of(request, headers.get("vary"), content_type),
        sha256=sha256,
        size=size,
        headers=kept,
    )


def token_entry(request: Request, key_url: str, headers: Mapping[str, str]) -> Entry:
    """Make the entry that says that there was a token; nothing of the token is in it."""
    kept = _kept(headers, frozenset({"content-type"}))
    return Entry(
        method=request.method, url=key_url, status=200, body=request.body, vary=(), headers=kept, stand_in="token"
    )


def _kept(headers: Mapping[str, str], names: frozenset[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for name in sorted(names):
        value = headers.get(name)
        if value is not None and name == "www-authenticate":
            value = challenge_without_tokens(value)
        # A link may be signed, as a redirect may.
        if value and len(value) <= _MAX_VALUE and value_fits(value) and not _is_secret(value):
            found.append((name, value))
    return tuple(found)


def _is_secret(value: str) -> bool:
    return redacted(value) != value or USER_INFO.search(value) is not None


def challenge_without_tokens(value: str) -> str:
    """Keep of a challenge (RFC 9110 section 11.6.1) its scheme and what says where a token is to be had."""
    scheme, rest = (*value.split(None, 1), "", "")[:2]
    kept = []
    position = 0
    while (part := _CHALLENGE_PART.match(rest, position)) is not None and part.end() > position:
        if part[1].lower() in _CHALLENGE_KEPT:
            kept.append(f"{part[1]}={part[2]}")
        position = part.end()
    return f"{scheme} {','.join(kept)}" if kept else scheme


def joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Join the fields of a head to one value for each lower-case name, decoded octet by octet."""
    headers: dict[str, str] = {}
    for name, value in fields:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers

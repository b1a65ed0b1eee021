"""Says what is wrong with an entry, so that nothing is written that would not be read back, and nothing odd is read."""

from __future__ import annotations

import re
from functools import lru_cache

from hermit_proxy.request.key import VARYING
from hermit_proxy.request.target import BadTargetError, host_file_name, parse_url
from hermit_proxy.snapshot.entry import KEPT_HEADERS, Entry, Pairs

STAND_INS = ("token",)
VARY_NAMES = frozenset(VARYING)
MAX_VALUE = 64 * 1024
MAX_SIZE = 1 << 53

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Octets of a header field as latin-1 without controls, and no space at either end (RFC 9110 section 5.5).
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
# A URL of which one can see that it is normalised; about all are, and parsing 200,000 of them would take seconds.
# `%2F` is in the name of every scoped npm package: behind it, as behind a slash, no dots may begin.
_PLAIN_URL = re.compile(
    r"(?P<origin>https?://[^/?#]+)"
    r"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-](?:[A-Za-z0-9._~!$&'()*+,;=:@-]++|%2F(?=[A-Za-z0-9_~!$&'()*+,;=:@-]))*+)++/?"
    r"(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?"
)
_MAX_PLAIN_URL = 8 * 1024


def file_name_of(url: str) -> str:
    """Name the file that an entry with this URL stands in; raise BadTargetError where the URL is not normalised."""
    plain = _PLAIN_URL.fullmatch(url) if len(url) <= _MAX_PLAIN_URL else None
    if plain is not None:
        return _file_name_of_origin(plain["origin"])
    target = parse_url(url)
    if target.url != url:
        raise BadTargetError(f"a URL is written as {target.url}")
    return host_file_name(target)


@lru_cache(maxsize=4096)
def _file_name_of_origin(origin: str) -> str:
    target = parse_url(origin)
    if target.url != f"{origin}/":
        raise BadTargetError(f"a URL begins with {target.url}")
    return host_file_name(target)


def is_file_name(name: str, origin: str) -> bool:
    """Tell whether `name` is the file of the host in `origin`, a URL that may be anything."""
    try:
        return host_file_name(parse_url(origin)) == name
    except BadTargetError:
        return False


def recordable(status: int) -> bool:
    """Tell whether an answer with this status is ever kept (docs/decisions/negative-answers.md)."""
    return 200 <= status < 500 and status not in {206, 304, 407, 408, 425, 429}  # noqa: PLR2004  status codes


def value_fits(value: str) -> bool:
    """Tell whether the value of a header may stand in a snapshot: what a server sends may be anything."""
    return len(value) <= MAX_VALUE and _VALUE.fullmatch(value) is not None


def problems(entry: Entry) -> list[str]:
    """List what makes an entry unfit for a snapshot file, in words that begin with the field."""
    return [*_request_problems(entry), *answer_problems(entry)]


def answer_problems(entry: Entry) -> list[str]:
    """List what is wrong with an entry apart from its method, URL and body."""
    found: list[str] = []
    if entry.headers:
        found += headers_problems(entry.headers)
    return found + problems_beside_headers(entry)


def headers_problems(headers: Pairs) -> list[str]:
    """List what is wrong with the headers of an answer: names, their order, values."""
    return _pairs_problems("headers", headers, KEPT_HEADERS)


def problems_beside_headers(entry: Entry) -> list[str]:
    """List what is wrong with an entry apart from its method, URL, body and headers."""
    found = list(_vary_problems(entry.vary)) if entry.vary else []
    if not recordable(entry.status):
        found.append(f"status: answers with {entry.status} are never recorded")
    if entry.stand_in is not None and entry.stand_in not in STAND_INS:
        found.append(f"stand-in: expected {' or '.join(STAND_INS)}, not {entry.stand_in[:40]!r}")
    if entry.stand_in is not None and entry.sha256 is not None:
        found.append("stand-in: such an entry has no sha256, because the body was a secret")
    if entry.stand_in is not None and entry.status != 200:  # noqa: PLR2004  a token came with no other status
        found.append("stand-in: only an answer with status 200 was a token")
    return found + _body_problems(entry)


def _body_problems(entry: Entry) -> list[str]:
    found: list[str] = []
    if entry.sha256 is not None:
        if not _DIGEST.fullmatch(entry.sha256):
            found.append("sha256: expected 64 lower-case hex digits")
        if entry.size is None:
            found.append("size: an entry with a sha256 has the size of the body")
    elif entry.size is not None and entry.method != "HEAD":
        found.append("sha256: an entry with a size has the digest of the body")
    if entry.size is not None and not 0 <= entry.size <= MAX_SIZE:
        found.append(f"size: expected 0 to {MAX_SIZE} bytes")
    return found


def _request_problems(entry: Entry) -> list[str]:
    found: list[str] = []
    if not _METHOD.fullmatch(entry.method):
        found.append(f"request: expected a method in capitals, not {entry.method[:40]!r}")
    try:
        file_name_of(entry.url)
    except BadTargetError as error:
        found.append(f"request: {error}")
    if entry.body is not None and not _DIGEST.fullmatch(entry.body):
        found.append("body: expected sha256: and 64 lower-case hex digits")
    return found


@lru_cache(maxsize=256)  # a few ways of asking are shared by all entries
def _vary_problems(vary: Pairs) -> list[str]:
    return _pairs_problems("vary", vary, VARY_NAMES)


def _pairs_problems(where: str, pairs: tuple[tuple[str, str], ...], allowed: frozenset[str]) -> list[str]:
    found: list[str] = []
    before = ""
    for name, value in pairs:
        if name not in allowed:
            found.append(f"{where}: {name[:40]!r} is none of {', '.join(sorted(allowed))}")
        elif name <= before:
            found.append(f"{where}: the names are not sorted, or {name!r} is there twice")
        elif not value_fits(value):
            found.append(f"{where}: the value of {name!r} is too long, has control characters or space around it")
        before = name
    return found

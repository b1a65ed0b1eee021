"""One line of the record: a request, and what the answer to it must be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode  # dumps would make an encoder for each entry

# Response headers that a client needs to read the body right; never cookies, tokens or dates.
KEPT_HEADERS = frozenset(
    {
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "docker-content-digest",
        "docker-distribution-api-version",
        "etag",
        "last-modified",
        "link",
        "location",
        "vary",
        "www-authenticate",
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Is one recorded answer.

    `url` is normalised (see target), `body` the digest of the request's body or None; `vary` and
    `headers` are sorted pairs with lower-case names. `sha256` and `size` (bytes) describe the response body: both
    None where the answer is negative and its body is not kept; for HEAD `size` alone may be there, the
    length that the server announced. `stand_in="token"` marks an answer that was a token: none is stored, and a
    replay answers with a stand-in.
    """

    method: str
    url: str
    status: int
    body: str | None = None
    vary: Pairs = ()
    sha256: str | None = None
    size: int | None = None
    headers: Pairs = ()
    stand_in: str | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Give what a request is looked up by, before its varying headers choose."""
        return self.method, self.url, self.body

    @property
    def sort_key(self) -> tuple[str, str, str, Pairs]:
        """Give the order of entries in a file."""
        return self.url, self.method, self.body or "", self.vary

    @property
    def id(self) -> str:
        """Give the digest over the whole entry that an observation vouches for: editing any part changes it."""
        fields = [self.method, self.url, self.status, self.body, self.vary, self.sha256, self.size, self.headers]
        return hashlib.sha256(_ENCODE([*fields, self.stand_in]).encode()).hexdigest()

    def header(self, name: str) -> str | None:
        """Give a kept response header."""
        return next((value for header, value in self.headers if header == name), None)

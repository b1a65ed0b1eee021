"""Makes the answer to a request from an entry of the snapshot: pure, and the same for hermetic and recording runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from hermit_proxy.replayer.conditions import Verdict, judge, wanted_range
from hermit_proxy.snapshot.entry import Entry, Pairs

# A fixed time: a token is never checked by anyone, and an answer that moves is no replay.
TOKEN = (
    b'{"token":"hermit-stand-in","access_token":"hermit-stand-in","token_type":"Bearer",'
    b'"expires_in":3600,"issued_at":"2020-01-01T00:00:00Z"}\n'
)
# What a 304 repeats of the 200 (RFC 9110 section 15.4.5), as far as it is kept.
_NOT_MODIFIED_HEADERS = frozenset({"etag", "last-modified", "vary"})
_NO_BODY = frozenset({204, 304})
_OK = 200
_ERROR = 400
_PLAIN = ("content-type", "text/plain; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Answer:
    """Is an answer that is ready to be framed.

    `length` is what Content-Length says, None for an answer that must not have one. The body is `inline`, or the
    bytes from `start` to `stop` (excluded) of the `total` bytes of the stored body `sha256`, or nothing. `headers`
    has lower-case names and nothing of the framing.
    """

    status: int
    headers: Pairs
    length: int | None = 0
    inline: bytes = b""
    sha256: str | None = None
    start: int = 0
    stop: int = 0
    total: int = 0

    @property
    def size(self) -> int:
        """Count the bytes of body that go out."""
        return self.stop - self.start if self.sha256 is not None else len(self.inline)

    def head(self, *, close: bool) -> bytes:
        """Give status line and headers as HTTP/1.1 has them, the empty line included."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.length is not None:
            lines.append(f"content-length: {self.length}")
        if close:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def answer(entry: Entry, method: str, headers: Mapping[str, str]) -> Answer:
    """Answer a request for which `entry` was found; `headers` are the request's, names in lower case."""
    if entry.stand_in is not None:
        return text(entry.status, TOKEN, method, entry.headers, content_type="application/json")
    if entry.method == "HEAD":
        return _announced(entry, headers)
    if entry.sha256 is None or method not in {"GET", "HEAD"} or entry.status != _OK:
        return _plain(entry, method)
    verdict = judge(entry, headers)
    if verdict is Verdict.NOT_MODIFIED:
        return _not_modified(entry)
    if verdict is Verdict.FAILED:
        return text(412, b"the recorded answer is another version than the condition names\n", method)
    return _part(entry, method, headers)


def text(
    status: int, body: bytes, method: str, headers: Iterable[tuple[str, str]] = (), *, content_type: str | None = None
) -> Answer:
    """Make an answer with a body of the proxy's own; a HEAD gets its length only."""
    typed = ("content-type", content_type) if content_type else _PLAIN
    others = tuple((name, value) for name, value in headers if name != "content-type")
    return Answer(status, (typed, *others), len(body), b"" if method == "HEAD" else body)


def _part(entry: Entry, method: str, headers: Mapping[str, str]) -> Answer:
    size = entry.size or 0
    kept = (*entry.headers, ("accept-ranges", "bytes"))
    # Range is defined for GET alone (RFC 9110 section 14.2).
    wanted = wanted_range(entry, size, headers) if method == "GET" else None
    if wanted is None:
        return _slice(Answer(_OK, kept, size), entry, 0, 0 if method == "HEAD" else size)
    start, stop = wanted
    if start == stop:
        return text(416, b"no such range\n", method, (("content-range", f"bytes */{size}"),))
    kept = (*kept, ("content-range", f"bytes {start}-{stop - 1}/{size}"))
    return _slice(Answer(206, kept, stop - start), entry, start, stop)


def _slice(frame: Answer, entry: Entry, start: int, stop: int) -> Answer:
    # Of no bytes nothing has to be read; a HEAD tells the length all the same.
    sha256 = entry.sha256 if stop > start else None
    return Answer(frame.status, frame.headers, frame.length, b"", sha256, start, stop, entry.size or 0)


def _plain(entry: Entry, method: str) -> Answer:
    """Answer as it was recorded, without a look at conditions or ranges."""
    if entry.status in _NO_BODY:
        return Answer(entry.status, entry.headers, None)
    if entry.sha256 is not None or entry.status < _ERROR:
        # A size without a body is a HEAD's; for anything else it would be a promise that nobody keeps.
        size = (entry.size or 0) if entry.sha256 is not None else 0
        return _slice(Answer(entry.status, entry.headers, size), entry, 0, 0 if method == "HEAD" else size)
    words = f"{entry.status} {_phrase(entry.status)} (recorded by Hermit without its body)\n"
    return text(entry.status, words.encode(), method, entry.headers)


def _announced(entry: Entry, headers: Mapping[str, str]) -> Answer:
    """Answer a HEAD that was recorded as one: with the length that the server announced, if it did."""
    ranges = (("accept-ranges", "bytes"),) if entry.status == _OK and entry.size is not None else ()
    if entry.status == _OK and judge(entry, headers) is Verdict.NOT_MODIFIED:
        return _not_modified(entry)
    return Answer(entry.status, (*entry.headers, *ranges), None if entry.status in _NO_BODY else entry.size)


def _not_modified(entry: Entry) -> Answer:
    return Answer(304, tuple(pair for pair in entry.headers if pair[0] in _NOT_MODIFIED_HEADERS), None)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Recorded"

"""Fuzzes the replayer's connections: every answer is paired with the request that h11 reads in the same place."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote, urlsplit

from tests.fuzz.bench import FORGET, LIMITS, VANISH, Bench, converse, inside, the_bench
from tests.fuzz.case import Case, pieces
from tests.fuzz.framing import Heard, heard
from tests.fuzz.heads import WORDS
from tests.support.replaying import HOST

_ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [A-Za-z0-9 '-]+\r\n((?:[a-z-]+: [^\r\n\0]*\r\n)*)\r\n")


def replayer(data: bytes) -> bool:
    bench = the_bench()
    flags, how, stream = [*data[:2], 0, 0][0], [*data[:2], 0, 0][1], data[2:]
    if flags & FORGET:
        bench.front._hot.clear()
    bench.lines.clear()
    sent = bench.loop.run_until_complete(converse(bench, flags, pieces(stream, how)))
    assert not bench.failures, bench.failures
    assert bench.open == 0, "a connection stays with the hub"
    assert bench.front._budget.free == LIMITS.budget, "memory of a body is not given back"
    statuses = _check_answers(bench, flags, stream, sent)
    # A request that breaks off, or that TLS swallows, has a line and no answer.
    assert len(statuses) <= len(bench.lines) <= len(statuses) + 1, (statuses, bench.lines)
    return any(status < 400 for status in statuses)


def _check_answers(bench: Bench, flags: int, stream: bytes, sent: bytes) -> list[int]:
    """Pair every answer with the request that h11 reads in the same place; give the statuses, but those of tunnels."""
    asked = heard(stream)
    statuses: list[int] = []
    tunnel = inside(flags)
    at = 0
    while sent:
        if sent[0] == 0x16 or sent[0] == 0x15:
            break  # TLS from here on
        found = _ANSWER.match(sent)
        assert found is not None, sent[:200]
        status, sent = int(found[1]), sent[found.end() :]
        fields = dict(line.split(b": ", 1) for line in found[2].split(b"\r\n")[:-1])
        if status == 100:
            continue
        statuses.append(status)
        assert status != 500, "the proxy failed over it"
        request = asked[at] if at < len(asked) else None
        at += 1
        if (
            status >= 400
            and b"connection" in fields
            and (request is None or len(sent) == int(fields[b"content-length"]))
        ):
            assert len(sent) == int(fields[b"content-length"]), "more than a refusal at the end"
            break
        assert request is not None, f"{status} to what h11 reads as no request"
        if request.method == b"CONNECT" and status == 200:
            assert not tunnel
            tunnel = True
            statuses.pop()
            asked, at = heard(request.rest), 0
            continue
        length = 0 if request.method == b"HEAD" or status in {204, 304} else int(fields[b"content-length"])
        body, sent = sent[:length], sent[length:]
        if not flags & VANISH:
            assert len(body) == length
        if status in {200, 206}:
            _check_body(bench, request, status, body, tunnel=tunnel)
        if b"connection" in fields:
            assert sent == b"", "an answer after the last one"
    return statuses


def _check_body(bench: Bench, request: Heard, status: int, body: bytes, *, tunnel: bool) -> None:
    """Find out with urllib what was asked for, and compare."""
    target = request.target.decode("latin-1")
    split = urlsplit(f"//{HOST}{target}" if tunnel else target)
    host = (split.hostname or "").removesuffix(".")
    if host == "hermit.internal":
        return
    assert host == HOST
    if request.method == b"HEAD":
        assert body == b""
        return
    path = re.sub(r"/(?:\./)*/*", "/", split.path) or "/"
    known = {unquote(name.partition("?")[0]): content for name, content in bench.contents.items()}
    if ".." not in unquote(path) and "/." not in unquote(path):
        assert unquote(path) in known, f"200 to {target}"
        content = known[unquote(path)]
        assert body == content if status == 200 else body in content
    if request.method == b"POST":
        assert request.body == b"hello" or b"%" in request.target, "an answer to another body"


_H = b" HTTP/1.1\r\nHost: files.example.org\r\n"
_A = b"GET http://files.example.org/a" + _H
_UPLOAD = hashlib.sha256(b"abc").hexdigest().encode()
_SEEDS = (
    b"\x40\0GET /a" + _H + b"\r\nHEAD /big" + _H + b"Connection: close\r\n\r\n",
    b"\xc0\7POST /a" + _H + b"Content-Length: 5\r\n\r\nhelloGET /big" + _H + b"Range: bytes=-9\r\n\r\n",
    b"\0\0" + _A + b"\r\n",
    b"\0\7" + _A + b"Range: bytes=2-5\r\n\r\n" + _A + b"\r\n",
    b"\1\0GET /a" + _H + b"Connection: close\r\n\r\n",
    b"\1\1HEAD /big" + _H + b"\r\nGET /big" + _H + b"\r\nGET /empty" + _H + b"\r\n",
    b"\0\x50GET http://files.example.org/none" + _H + b"\r\n",
    b"\0\0POST http://files.example.org/post" + _H + b"Content-Length: 5\r\n\r\nhello" + _A + b"\r\n",
    b"\0\3POST http://files.example.org/post"
    + _H
    + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: u\r\n\r\n",
    (
        b"\0\0CONNECT files.example.org:443 HTTP/1.1\r\nHost: files.example.org:443\r\n\r\nGET /a HTTP/1.1\r\n"
        b"Host: files.example.org:443\r\n\r\n"
    ),
    b"\0\0CONNECT files.example.org:80 HTTP/1.0\r\n\r\nGET /a HTTP/1.1\r\nHost: files.example.org\r\n\r\n",
    b"\0\0CONNECT files.example.org:443 HTTP/1.1\r\n\r\n\x16\3\1\0\5\1\0\0\1\3",
    b"\0\0GET http://hermit.internal/ca.pem HTTP/1.1\r\nHost: hermit.internal\r\n\r\n",
    b"\0\0PUT http://hermit.internal/upload/sha256/"
    + _UPLOAD
    + b" HTTP/1.1\r\nHost: hermit.internal\r\nContent-Length: 3\r\n\r\nabc",
    b"\4\0GET http://files.example.org/a HTTP/1.1\r\nHo",
    b"\x0c\0" + _A + b"Content-Length: 50\r\n\r\nabc",
    b"\x10\0" + _A + b"\r\n" + _A + b"\r\n",
    b"\x20\0GET http://files.example.org/x%2fy?q=1" + _H + b"\r\n" * 2 + _A + b"\r\n",
    b"\0\0" + _A + b"If-None-Match: *\r\nUpgrade: h2c\r\n\r\n",
    b"\0\0GET http://files.example.org/gone"
    + _H
    + b"\r\nHEAD http://files.example.org/gone"
    + _H
    + b"\r\n"
    + _A
    + b"\r\n",
)
_MORE = (
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"A" * 200,
    b"/a",
    b"/big",
    b"/post",
    b"GET /a",
    b"GET http://files.example.org/a",
    b"Range: bytes=1-\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"If-Range: x\r\n",
    b"Content-Encoding: gzip\r\n",
)
CASES = (Case("replayer", replayer, _SEEDS, (*WORDS, *_MORE), 3000),)

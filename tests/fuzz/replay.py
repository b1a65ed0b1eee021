"""Fuzzes the replayer's connections in process: real front, real snapshot and store, a transport made of a list."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from concurrent.futures import Executor, Future
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hermit_proxy.ca import RunCA
from hermit_proxy.events import RequestEvent
from hermit_proxy.policy import Mode
from hermit_proxy.recorder.head import Tunnel
from hermit_proxy.replayer.connection import Connection, State
from hermit_proxy.replayer.front import Front
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.tls import Contexts
from hermit_proxy.session import LOG_NAME, Session
from tests.fuzz.case import Case, pieces
from tests.fuzz.framing import Heard, heard
from tests.fuzz.heads import WORDS
from tests.support.replaying import HOST, Project

_LIMITS = Limits(body=4096, budget=6000)
_ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [A-Za-z0-9 '-]+\r\n((?:[a-z-]+: [^\r\n\0]*\r\n)*)\r\n")
_PATIENCE = 2000
_FOLDER = Path(tempfile.mkdtemp(prefix="hermit-fuzz-"))


class _AtOnce(Executor):
    """Runs what would block at once, so that an input always takes the same way."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  the future carries it
            done.set_exception(error)
        return done


class _Transport(asyncio.Transport):
    """Is a client that takes everything and goes when it is told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.sent = bytearray()
        self.reading = True
        self.closed = self.finished = False
        self.protocol: Connection | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None:
        assert not self.finished, "written after the end was said"
        if not self.closed:
            self.sent += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.finished = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.gone)

    abort = close

    def gone(self) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(None)


class _Bench:
    """Is a run with a small snapshot, and the hub of its connections."""

    def __init__(self) -> None:
        project = Project(_FOLDER / "project", upload_limit=1 << 40)
        self.contents = {
            "/a": b"the answer to a\n",
            "/big": os.urandom(1) * 300_000,
            "/empty": b"",
            "/x%2Fy?q=1": b"of a query",
        }
        for path, content in self.contents.items():
            for scheme in ("http", "https"):
                project.add(f"{scheme}://{HOST}{path}", content)
        project.add(f"http://{HOST}/post", b"posted", method="POST", body=hashlib.sha256(b"hello").hexdigest())
        project.add(f"http://{HOST}/gone", None, status=404)
        self.contents["/post"] = b"posted"
        rundir = _FOLDER / "run"
        rundir.mkdir()
        (rundir / LOG_NAME).symlink_to("/dev/null")
        project.settings().write(rundir)
        ca = RunCA.create([])
        self.session = Session.load(rundir, Mode.HERMETIC)
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        self.failures: list[dict[str, Any]] = []
        self.lines: list[RequestEvent] = []
        self.session.on_log = self.lines.append
        self.front = Front(self.session, ca.cert_pem, _AtOnce(), _LIMITS)
        self.contexts = Contexts(ca)
        self.open = 0

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def opened(self, _connection: Connection) -> bool:
        self.open += 1
        return True

    def closed(self, _connection: Connection) -> None:
        self.open -= 1


_bench = lru_cache(maxsize=1)(_Bench)
# The first octet says where the client speaks and how it ends.
_IN_TUNNEL, _NO_TUNNELS, _EXPIRE, _VANISH, _SLOW, _FORGET = 1, 2, 4, 8, 16, 32


async def _converse(bench: _Bench, flags: int, parts: list[bytes]) -> bytes:
    tunnel = Tunnel(HOST, 443, tls=True) if flags & _IN_TUNNEL else None
    contexts = None if flags & _NO_TUNNELS else bench.contexts
    connection = Connection(bench, bench.front, _LIMITS, contexts, tunnel)
    transport = _Transport(bench.loop)
    transport.protocol = connection
    connection.connection_made(transport)
    for part in parts:
        for _ in range(_PATIENCE):
            if transport.reading or transport.closed:
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError("it never reads on")
        if transport.closed:
            break
        connection.data_received(part)
        if flags & _SLOW and transport.protocol is not None:
            connection.pause_writing()
            await asyncio.sleep(0)
            connection.resume_writing()
    await _settled(connection)
    if flags & _VANISH:
        transport.gone()
    elif transport.protocol is not None and flags & _EXPIRE:
        connection.expire()
    elif transport.protocol is not None and not transport.closed and not connection.eof_received():
        transport.close()
    await _settled(connection)
    transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert connection._task is None
    assert connection._state in {State.CLOSED, State.LINGER}
    return bytes(transport.sent)


async def _settled(connection: Connection) -> None:
    for _ in range(_PATIENCE):
        if connection._task is None:
            return
        await asyncio.sleep(0)
    raise AssertionError("a request is never answered")


def replayer(data: bytes) -> bool:
    bench = _bench()
    flags, how, stream = [*data[:2], 0, 0][0], [*data[:2], 0, 0][1], data[2:]
    if flags & _FORGET:
        bench.front._hot.clear()
    bench.lines.clear()
    sent = bench.loop.run_until_complete(_converse(bench, flags, pieces(stream, how)))
    assert not bench.failures, bench.failures
    assert bench.open == 0, "a connection stays with the hub"
    assert bench.front._budget.free == _LIMITS.budget, "memory of a body is not given back"
    statuses = _check_answers(bench, flags, stream, sent)
    # A request that breaks off, or that TLS swallows, has a line and no answer.
    assert len(statuses) <= len(bench.lines) <= len(statuses) + 1, (statuses, bench.lines)
    return any(status < 400 for status in statuses)




def _check_answers(bench: _Bench, flags: int, stream: bytes, sent: bytes) -> list[int]:
    """Pair every answer with the request that h11 reads in the same place; give the statuses, but those of tunnels."""
    asked = heard(stream)
    statuses: list[int] = []
    tunnel = bool(flags & _IN_TUNNEL)
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
        if status >= 400 and b"connection" in fields and (request is None or len(sent) == int(fields[b"content-length"])):
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
        if not flags & _VANISH:
            assert len(body) == length
        if status in {200, 206}:
            _check_body(bench, request, status, body, tunnel=tunnel)
        if b"connection" in fields:
            assert sent == b"", "an answer after the last one"
    return statuses


def _check_body(bench: _Bench, request: Heard, status: int, body: bytes, *, tunnel: bool) -> None:
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
    b"\0\0" + _A + b"\r\n", b"\0\7" + _A + b"Range: bytes=2-5\r\n\r\n" + _A + b"\r\n", b"\1\0GET /a" + _H + b"Connection: close\r\n\r\n",
    b"\1\1HEAD /big" + _H + b"\r\nGET /big" + _H + b"\r\nGET /empty" + _H + b"\r\n", b"\0\x50GET http://files.example.org/none" + _H + b"\r\n",
    b"\0\0POST http://files.example.org/post" + _H + b"Content-Length: 5\r\n\r\nhello" + _A + b"\r\n",
    b"\0\3POST http://files.example.org/post" + _H + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: u\r\n\r\n",
    b"\0\0CONNECT files.example.org:443 HTTP/1.1\r\nHost: files.example.org:443\r\n\r\nGET /a HTTP/1.1\r\nHost: files.example.org:443\r\n\r\n",
    b"\0\0CONNECT files.example.org:80 HTTP/1.0\r\n\r\nGET /a HTTP/1.1\r\nHost: files.example.org\r\n\r\n",
    b"\0\0CONNECT files.example.org:443 HTTP/1.1\r\n\r\n\x16\3\1\0\5\1\0\0\1\3", b"\0\0GET http://hermit.internal/ca.pem HTTP/1.1\r\nHost: hermit.internal\r\n\r\n",
    b"\0\0PUT http://hermit.internal/upload/sha256/" + _UPLOAD + b" HTTP/1.1\r\nHost: hermit.internal\r\nContent-Length: 3\r\n\r\nabc",
    b"\4\0GET http://files.example.org/a HTTP/1.1\r\nHo", b"\x0c\0" + _A + b"Content-Length: 50\r\n\r\nabc", b"\x10\0" + _A + b"\r\n" + _A + b"\r\n",
    b"\x20\0GET http://files.example.org/x%2fy?q=1" + _H + b"\r\n" * 2 + _A + b"\r\n", b"\0\0" + _A + b"If-None-Match: *\r\nUpgrade: h2c\r\n\r\n",
    b"\0\0GET http://files.example.org/gone" + _H + b"\r\nHEAD http://files.example.org/gone" + _H + b"\r\n" + _A + b"\r\n",
)  # fmt: skip
_MORE = (
    b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffffffffffff\r\n", b"A" * 200, b"/a", b"/big", b"/post", b"GET /a", b"GET http://files.example.org/a",
    b"Range: bytes=1-\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"If-Range: x\r\n", b"Content-Encoding: gzip\r\n",
)  # fmt: skip
CASES = (Case("replayer", replayer, _SEEDS, (*WORDS, *_MORE), 3000),)

"""Holds a replayer's connection in process: real front, real snapshot and store, a transport that is a list."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import tempfile
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from hermit_proxy.policy import Mode
from hermit_proxy.recorder.head import Tunnel
from hermit_proxy.replayer.connection import Connection, State
from hermit_proxy.replayer.front import Front
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.tls import Contexts
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.events import RequestEvent
from hermit_proxy.run.session import LOG_NAME, Session
from tests.fuzz.case import pieces
from tests.support.replaying import HOST, Project

LIMITS = Limits(body=4096, budget=6000)
_PATIENCE = 2000
# How records of TLS are cut where they are (see pieces).
_TORN = 200


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

    def get_write_buffer_size(self) -> int:
        return 0

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


class Bench:
    """Is a run with a small snapshot, and the hub of its connections."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hermit-fuzz-")
        folder = Path(self._folder.name)
        project = Project(folder / "project", upload_limit=1 << 40)
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
        rundir = folder / "run"
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
        self.front = Front(self.session, ca.cert_pem, _AtOnce(), LIMITS)
        self.contexts = Contexts(ca)
        self.client = ssl.create_default_context(cadata=ca.cert_pem.decode())
        self.open = 0

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def opened(self, _connection: Connection) -> bool:
        self.open += 1
        return True

    def closed(self, _connection: Connection) -> None:
        self.open -= 1


the_bench = lru_cache(maxsize=1)(Bench)
# The first octet says where the client speaks and how it ends.
IN_TUNNEL, NO_TUNNELS, EXPIRE, VANISH, SLOW, FORGET, TLS, TORN = 1, 2, 4, 8, 16, 32, 64, 128


def inside(flags: int) -> bool:
    """Tell whether the client speaks within a tunnel from its first byte on."""
    return bool(flags & IN_TUNNEL or (flags & TLS and not flags & NO_TUNNELS))


class _Secure:
    """Is the client's end of TLS inside a tunnel that it has asked for."""

    def __init__(self, bench: Bench, connection: Connection, transport: _Transport) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._end = bench.client.wrap_bio(self._in, self._out, server_hostname=HOST)
        self._transport = transport
        connection.data_received(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
        assert transport.sent.startswith(b"HTTP/1.1 200 ")
        transport.sent.clear()
        for _ in range(4):
            with suppress(ssl.SSLWantReadError):
                self._end.do_handshake()
            if greeting := self._out.read():
                connection.data_received(greeting)
            self._hear()
        assert self._end.cipher() is not None

    def _hear(self) -> None:
        self._in.write(bytes(self._transport.sent))
        self._transport.sent.clear()

    def sealed(self, data: bytes) -> bytes:
        """Give what goes out for `data`."""
        self._end.write(data)
        return self._out.read()

    def opened(self) -> bytes:
        """Give all that was answered, in clear."""
        self._hear()
        parts = []
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while part := self._end.read(1 << 20):
                parts.append(part)
        return b"".join(parts)


async def converse(bench: Bench, flags: int, parts: list[bytes]) -> bytes:
    """Say what a client says, in these parts, and give what it is sent until the connection is gone."""
    tunnel = Tunnel(HOST, 443, tls=True) if flags & IN_TUNNEL else None
    contexts = None if flags & NO_TUNNELS else bench.contexts
    connection = Connection(bench, bench.front, LIMITS, contexts, tunnel)
    transport = _Transport(bench.loop)
    transport.protocol = connection
    connection.connection_made(transport)
    secure = _Secure(bench, connection, transport) if inside(flags) and tunnel is None else None
    for part in parts:
        for _ in range(_PATIENCE):
            if transport.reading or transport.closed:
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError("it never reads on")
        if transport.closed:
            break
        for octets in pieces(secure.sealed(part), _TORN if flags & TORN else 0) if secure else [part]:
            connection.data_received(octets)
        if flags & SLOW and transport.protocol is not None:
            connection.pause_writing()
            await asyncio.sleep(0)
            connection.resume_writing()
    await _settled(connection)
    if flags & VANISH:
        transport.gone()
    elif transport.protocol is not None and flags & EXPIRE:
        connection.expire()
    elif transport.protocol is not None and not transport.closed and not connection.eof_received():
        transport.close()
    await _settled(connection)
    transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert connection._task is None
    assert connection._state in {State.CLOSED, State.LINGER}
    return secure.opened() if secure else bytes(transport.sent)


async def _settled(connection: Connection) -> None:
    for _ in range(_PATIENCE):
        if connection._task is None:
            return
        await asyncio.sleep(0)
    raise AssertionError("a request is never answered")

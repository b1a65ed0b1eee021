"""Serves stored answers to this process's own recorder, so that both modes answer with one engine at bounded memory."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hermit_proxy.errors import HermitError
from hermit_proxy.recorder.head import Tunnel
from hermit_proxy.replayer.answer import answer, text
from hermit_proxy.replayer.bodies import Bodies
from hermit_proxy.replayer.connection import Connection
from hermit_proxy.replayer.hub import Hub
from hermit_proxy.replayer.internal_host import InternalHost
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.server import Server
from hermit_proxy.replayer.sinks import Sink
from hermit_proxy.replayer.site import Complaint, Incoming, Reply
from hermit_proxy.request.target import INTERNAL_HOST, Target, parse_target
from hermit_proxy.run import refusal
from hermit_proxy.run.ca import CA_CERT
from hermit_proxy.run.session import Session
from hermit_proxy.snapshot.entry import Entry

_THREADS = 4
_HOST = "127.0.0.1"
_NOT_FOUND = 404
_ENTRY, _INTERNAL = "entry", "host"


class InternalServer:
    """Listens on a port of 127.0.0.1; the only way in is a path with 256 random bits, made for each run.

    Nothing is logged here: the recorder, which asks, writes the line of each request.
    """

    def __init__(self, session: Session, limits: Limits | None = None) -> None:
        """Take the run; nothing listens yet."""
        self._limits = limits if limits is not None else Limits()
        self._secret = secrets.token_hex(32)
        self._entries: dict[str, Entry] = {}
        self._troubles: dict[str, HermitError] = {}
        self._port = 0
        self._tunnel: Tunnel | None = None
        self._executor = ThreadPoolExecutor(_THREADS, "internal")
        self._bodies = Bodies(session.store, self._executor)
        self._internal = InternalHost(
            (session.rundir / CA_CERT).read_bytes(),
            session.store,
            self._executor,
            upload_limit=session.settings.upload_limit,
            log=_unlogged,
        )
        self._server = Server(self._connect, limit=self._limits.connections, sweep=self._limits.sweep)

    async def start(self) -> None:
        """Listen."""
        sock = socket.create_server((_HOST, 0), backlog=256)
        self._port = sock.getsockname()[1]
        self._tunnel = Tunnel(_HOST, self._port, tls=False)
        await self._server.listen(sock)

    def url_for(self, entry: Entry) -> str:
        """Give the http URL under which a request with the client's own method and headers gets this entry's answer."""
        entry_id = entry.id
        self._entries[entry_id] = entry
        return f"http://{_HOST}:{self._port}/{self._secret}/{_ENTRY}/{entry_id}"

    def url_for_internal_host(self, path: str) -> str:
        """Give the http URL that answers as `http://hermit.internal` + path (with its query) does."""
        return f"http://{_HOST}:{self._port}/{self._secret}/{_INTERNAL}{path}"

    async def close(self) -> None:
        """Stop listening and hang up; closing twice is safe."""
        await self._server.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    # What a connection asks of its site.

    def again(self, _raw: bytes, _tunnel: Tunnel | None) -> bytes | None:
        """Know no request by its bytes: each has been decided upon by the recorder."""
        return None

    def tunnel(self, _host: str, _port: int) -> str | None:
        """Open none."""
        return "no tunnels here"

    def sink(self, incoming: Incoming) -> Sink | Reply:
        """Take the body of an upload; the body of a replayed request was part of its key and is not needed again."""
        kind, rest = self._opened(incoming)
        if kind == _INTERNAL:
            return self._internal.sink(_as_internal(incoming, rest))
        return _ReadOver()

    def respond(self, incoming: Incoming, sink: Sink | None) -> Reply | Awaitable[Reply]:
        """Answer with the entry that the path names, or as hermit.internal."""
        kind, rest = self._opened(incoming)
        if kind == _INTERNAL:
            return self._internal.respond(_as_internal(incoming, rest), sink)
        entry = self._entries.get(rest.removeprefix("/")) if kind == _ENTRY else None
        if entry is None:
            return self.complain((incoming.method, "-", "there is no such thing here", _NOT_FOUND))
        found = answer(entry, incoming.method, incoming.headers)
        return self._bodies.reply(incoming, found, _undone, lambda error: self._note(entry, error))

    def trouble_with(self, entry: Entry) -> HermitError | None:
        """Give what the store said when it last could not answer with an entry."""
        return self._troubles.get(entry.id)

    def _note(self, entry: Entry, error: HermitError) -> None:
        self._troubles[entry.id] = error

    def complain(self, complaint: Complaint) -> Reply:
        """Answer what is no request of the recorder's."""
        method, url, reason, status = complaint
        words = refusal.failure_body(method, url, reason)
        return Reply(text(status, words, "GET", refusal.FAILED_HEADERS), words, _undone, close=True)

    def broken_off(self, complaint: Complaint) -> None:
        """Keep quiet: the recorder hung up and knows why."""

    def _connect(self, hub: Hub) -> Connection:
        return Connection(hub, self, self._limits, None, self._tunnel)

    def _opened(self, incoming: Incoming) -> tuple[str | None, str]:
        """Split a path into what it leads to and the rest; without the secret it leads nowhere."""
        secret, _, rest = incoming.target.path.removeprefix("/").partition("/")
        if not secrets.compare_digest(secret.encode(), self._secret.encode()):
            return None, ""
        kind, slash, rest = rest.partition("/")
        return kind, slash + rest


class _ReadOver:
    def write(self, chunk: memoryview) -> None:
        """Drop it."""

    def close(self) -> None:
        """Hold nothing, let go of nothing."""


def _as_internal(incoming: Incoming, path: str) -> Incoming:
    query = incoming.target.query
    target: Target = parse_target("http", INTERNAL_HOST, 80, (path or "/") + ("" if query is None else f"?{query}"))
    return replace(incoming, target=target, tunnel=None)


def _unlogged(_incoming: Incoming, _status: int, _sent: int, _reason: str | None) -> None:
    return


def _undone(_sent: int, _why: str | None) -> None:
    return

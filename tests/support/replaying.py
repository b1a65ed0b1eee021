"""Runs a real replayer process on a made-up snapshot, for tests that speak to it over sockets."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from hermit_proxy.policy import Mode
from hermit_proxy.run.events import RequestEvent, read_log
from hermit_proxy.run.process import ProxyProcess, ProxySettings
from hermit_proxy.run.session import LOG_NAME, Counts
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import write_tree
from hermit_proxy.store.files import FileStore
from hermit_proxy.store.observation import Observation

POOL = "tests"
HOST = "files.example.org"
OPEN_RULES = 'rules:\n  - {pattern: ".*/.*", action: ALLOW}\n  - {pattern: ".*:[0-9]+/.*", action: ALLOW}\n'
_T = TypeVar("_T")
_PATIENCE = 60


@dataclass
class Project:
    """Is the files of one run, made before its proxy starts; `entries` are put into snapshot, store and pool."""

    folder: Path
    rules: str = OPEN_RULES
    upload_limit: int = 1 << 20

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.entries: list[Entry] = []

    @property
    def store(self) -> FileStore:
        return FileStore(self.folder / "store")

    def add(self, url: str, content: bytes | None = b"", *, observe: bool = True, **fields: Any) -> Entry:
        """Record an answer to GET `url`; content None means that no body was kept."""
        entry = Entry(**{"method": "GET", "url": url, "status": 200, **fields})
        if content is not None:
            entry = replace(entry, sha256=self.keep(content), size=len(content))
        self.entries.append(entry)
        if observe:
            note = Observation(entry.id, entry.sha256, "0" * 32, "run", time.time())
            store = self.store
            store.observe(POOL, note)
            store.close()
        return entry

    def keep(self, body: bytes) -> str:
        """Put a body into the store."""
        store = self.store
        with store.writer() as writer:
            writer.write(body)
            writer.commit()
        store.close()
        return hashlib.sha256(body).hexdigest()

    def body_file(self, sha256: str) -> Path:
        """Name the file that holds a body."""
        return self.folder / "store/bodies" / sha256[:2] / sha256

    def settings(self) -> ProxySettings:
        """Write rules and snapshot, and give what a proxy needs."""
        (self.folder / "rules.yaml").write_text(self.rules)
        network = self.folder / ".hermit/network"
        write_tree(network, Snapshot(self.entries))
        store = str(self.folder / "store")
        rules = self.folder / "rules.yaml"
        return ProxySettings(rules, network, store, POOL, upload_limit=self.upload_limit)


class Loop:
    """Is an asyncio loop in a thread of its own, so that tests may block on sockets."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run to the end, in the loop's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()


class Replaying:
    """Is a replayer process that listens on a port of loopback while the context lasts."""

    def __init__(self, project: Project, name: str = "run") -> None:
        self.project = project
        self.rundir = project.folder / name
        self.events: list[dict[str, Any]] = []
        self._loop = Loop()

    def __enter__(self) -> Self:
        try:
            self.proxy = self.run(self._start())
            self.run(self.proxy.ready())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
            self.port = sock.getsockname()[1]
            self._loop.run(self._listen(sock))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if hasattr(self, "proxy"):
            self.run(self.proxy.stop())
        self._loop.close()

    async def _start(self) -> ProxyProcess:
        return await ProxyProcess.start(
            Mode.HERMETIC, self.project.settings(), self.rundir, on_event=self.events.append
        )

    async def _listen(self, sock: socket.socket) -> None:
        self.proxy.listen(sock)
        await self.proxy.status()  # Orders are obeyed in turn: it listens by now.

    @property
    def ca(self) -> Path:
        return self.rundir / "ca.pem"

    @property
    def log(self) -> list[RequestEvent]:
        """Give the lines so far."""
        return list(read_log(self.rundir / LOG_NAME))

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._loop.run(work)

    def status(self) -> Counts:
        return self.run(self.proxy.status())

    def finish(self) -> Counts:
        return self.run(self.proxy.finish())

    def wait_for_lines(self, count: int) -> list[RequestEvent]:
        """Wait until the log has so many lines: some are written after the client has its answer."""
        end = time.monotonic() + _PATIENCE
        while len(self.log) < count and time.monotonic() < end:
            time.sleep(0.01)
        return self.log

    def connect(self, timeout: float = 30) -> socket.socket:
        """Connect as a client of the proxy."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, octets: bytes, *, timeout: float = 30, end: bool = False) -> bytes:
        """Send bytes and read until the proxy closes; `end` says that nothing more comes."""
        with self.connect(timeout) as sock:
            sock.sendall(octets)
            if end:
                sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    def tunnel(self, host: str = HOST, port: int = 443) -> socket.socket:
        """Open a tunnel and give the socket in front of it."""
        sock = self.connect()
        sock.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = read_head(sock)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(answer.decode())
        return sock

    def tls(self, host: str = HOST, port: int = 443, *, sni: str | None = None) -> ssl.SSLSocket:
        """Open a tunnel and shake hands with the name of its host, or another."""
        context = ssl.create_default_context(cafile=str(self.ca))
        return context.wrap_socket(self.tunnel(host, port), server_hostname=sni or host)

    def get(self, path: str, *, method: str = "GET", host: str = HOST, headers: Iterable[str] = ()) -> Got:
        """Ask over TLS on a fresh connection."""
        with self.tls(host) as sock:
            return ask(sock, path, method=method, host=host, headers=headers)


@dataclass(frozen=True, slots=True)
class Got:
    """Is an answer as it came: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    sock: socket.socket,
    path: str,
    *,
    method: str = "GET",
    host: str = HOST,
    headers: Iterable[str] = (),
    body: bytes = b"",
) -> Got:
    """Ask on an open connection and read exactly one answer."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return read_answer(sock, method)


def read_answer(sock: socket.socket, method: str = "GET") -> Got:
    """Read one answer, no byte more."""
    head = read_head(sock).decode("latin-1")
    first, *rest = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    status = int(first.split(" ")[1])
    length = 0 if method == "HEAD" or status in {204, 304} else int(headers["content-length"])
    body = memoryview(bytearray(length))
    count = 0
    while count < length:
        got = sock.recv_into(body[count:])
        if not got:
            raise ConnectionError(f"{count} of {length} bytes came")
        count += got
    return Got(status, headers, bytes(body))


def read_head(sock: socket.socket) -> bytes:
    """Read up to the empty line."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        octet = sock.recv(1)
        if not octet:
            raise ConnectionError(f"closed after {head!r}")
        head += octet
    return head


def read_all(sock: socket.socket) -> bytes:
    """Read until the other end closes."""
    parts = []
    while piece := sock.recv(65536):
        parts.append(piece)
    return b"".join(parts)

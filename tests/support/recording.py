"""Runs a recorder in a thread of the test's own process, so that a test can give it a resolver or a broken addon."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from hermit_proxy.policy import Mode
from hermit_proxy.recorder.addons.certificates import upstream_context
from hermit_proxy.recorder.core import Recorder
from hermit_proxy.recorder.leaves import LeafContexts
from hermit_proxy.recorder.lookups import Resolve, resolve
from hermit_proxy.replayer.internal_server import InternalServer
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.events import RequestEvent, read_log
from hermit_proxy.run.session import Session
from hermit_proxy.run.settings import ProxySettings

T = TypeVar("T")
TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Got:
    """Is an answer as a client saw it; `whole` is False where the connection broke before the announced end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


class Client:
    """Is one connection to the proxy, with as many requests as it carries."""

    def __init__(self, port: int, trust: Path) -> None:
        """Connect."""
        self._trust = trust
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Hang up."""
        self._file.close()
        self.sock.close()

    def tunnel(self, authority: str, *, sni: str | None = None, tls: bool = True) -> Got:
        """CONNECT, and shake hands where the answer was 200; `sni` instead of the host's own name."""
        self.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        got = self.receive("CONNECT")
        if got.status == 200 and tls:
            context = ssl.create_default_context(cafile=str(self._trust))
            self._file.close()
            self.sock = context.wrap_socket(self.sock, server_hostname=sni or authority.rpartition(":")[0])
            self._file = self.sock.makefile("rb")
        return got

    def send(self, data: bytes) -> None:
        """Send octets as they are."""
        self.sock.sendall(data)

    def receive(self, method: str = "GET") -> Got:
        """Read one answer."""
        response = http.client.HTTPResponse(_Kept(self._file), method=method)  # type: ignore[arg-type]  # makefile is all it wants of a socket
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if method == "CONNECT" and response.status == http.HTTPStatus.OK:
            return Got(response.status, headers, b"")
        try:
            return Got(response.status, headers, response.read())
        except http.client.IncompleteRead as error:
            return Got(response.status, headers, error.partial, whole=False)

    def closed(self) -> bool:
        """Tell whether the proxy has hung up; waits for it."""
        try:
            return self._file.read(1) == b""
        except OSError:
            return True


class _Kept(io.RawIOBase):
    """Is a connection's file that outlives the answers read from it."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._kept = file

    def makefile(self, _mode: str) -> _Kept:
        return self

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1) -> bytes:
        return self._kept.readline(size if size is not None else -1)

    def read(self, size: int | None = -1) -> bytes:
        return self._kept.read(size)

    def close(self) -> None:
        """Leave it open."""


class Recording:
    """Is a running recorder; `events` reads its log, `session` is its session."""

    def __init__(self, folder: Path, settings: ProxySettings, resolver: Resolve, addons: tuple[object, ...]) -> None:
        """Start it."""
        self.folder = folder
        self.rundir = folder / "run"
        self.rundir.mkdir(mode=0o700)
        settings.write(self.rundir)
        self.alarms: list[Exception] = []
        self.trust = self.rundir / "ca.pem"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.recorder: Recorder
        self.port = self.run(self._start(resolver, addons))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the recorder's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT * 2)

    async def _start(self, resolver: Resolve, addons: tuple[object, ...]) -> int:
        authority = RunCA.create()
        self.trust.write_bytes(authority.cert_pem)
        self.session = Session.load(self.rundir, Mode.RECORD)
        self._engine = InternalServer(self.session)
        await self._engine.start()
        bindings = self.session.bindings
        self.recorder = Recorder(
            self.session,
            bindings,  # type: ignore[arg-type]  # typed as object to keep secrets out of replayers
            self._engine,
            upstream=upstream_context(self.session.settings.upstream_trust),
            for_host=LeafContexts(authority),
            alarm=self.alarms.append,
            resolver=resolver,
        )
        self.recorder.add_addons(*addons)
        sock = socket.create_server(("127.0.0.1", 0))
        await self.recorder.listen(sock)
        return int(sock.getsockname()[1])

    def client(self) -> Client:
        """Connect to it."""
        return Client(self.port, self.trust)

    def get(self, url: str, method: str = "GET", body: bytes = b"", **headers: str) -> Got:
        """Ask for a URL on a connection of its own; header names have underscores for hyphens."""
        parts = urlsplit(url)
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        with self.client() as client:
            target = url
            if parts.scheme == "https":
                tunnel = client.tunnel(parts.netloc if parts.port else f"{parts.netloc}:443")
                if tunnel.status != 200:
                    return tunnel
                target = url.removeprefix(f"https://{parts.netloc}")
            head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", *lines])
            client.send(f"{head}\r\n\r\n".encode() + body)
            return client.receive(method)

    def settle(self) -> None:
        """Wait until every request has its line in the log."""
        self.run(self.recorder._exchanges.idle())

    @property
    def events(self) -> list[RequestEvent]:
        """Give the log."""
        self.settle()
        return list(read_log(self.rundir / "requests.jsonl"))

    @property
    def last(self) -> RequestEvent:
        """Give the line of the request that began last; one whose answer is being stored gets its line later."""
        return max(self.events, key=lambda event: event.time)

    def stop(self) -> None:
        """Stop it."""
        self.run(self.recorder.finish(2))
        self.run(self._engine.close())
        self.session.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()


@contextmanager
def recording(
    folder: Path,
    rules: str,
    *,
    trust: Path | None = None,
    allow: tuple[str, ...] = ("127.0.0.1", "localhost"),
    resolver: Resolve = resolve,
    addons: tuple[object, ...] = (),
    change: Callable[[ProxySettings], ProxySettings] = lambda settings: settings,
) -> Iterator[Recording]:
    """Run a recorder under rules, which are the lines below `rules:`."""
    (folder / "rules.yaml").write_text("rules:\n" + rules)
    (folder / "store").mkdir(exist_ok=True)
    settings = ProxySettings(
        rules=folder / "rules.yaml",
        snapshot=folder / "network",
        store=str(folder / "store"),
        pool="test",
        upstream_allow=allow,
        upstream_trust=trust,
    )
    running = Recording(folder, change(settings), resolver, addons)
    try:
        yield running
    finally:
        running.stop()

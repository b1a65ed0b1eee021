"""Gives a test of one addon what the others share: a real session, its store and log, and flows with their exchange."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mitmproxy import http
from mitmproxy.connection import Connection, Server
from mitmproxy.proxy.context import Context
from mitmproxy.test import tflow

from hermit_proxy.policy import Mode
from hermit_proxy.recorder.connection import RecorderConnection
from hermit_proxy.recorder.exchange import Exchange, Exchanges, Route
from hermit_proxy.recorder.layeroptions import layer_options
from hermit_proxy.recorder.shared import Shared
from hermit_proxy.request.body import body_digest
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.run.events import RequestEvent, read_log
from hermit_proxy.run.session import Session
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.observation import Observation

CLIENT = "client"


class Engine:
    """Names where entries would be answered; nothing listens there."""

    def url_for(self, entry: Entry) -> str:
        """Give a URL of an entry."""
        return f"http://127.0.0.1:9/entry/{entry.id}"

    def url_for_internal_host(self, path: str) -> str:
        """Give a URL of a path of hermit.internal."""
        return f"http://127.0.0.1:9/internal{path}"


@dataclass
class Connections:
    """Stands for one client's connection, which needs sockets: it notes what it is asked for."""

    told: list[object] = field(default_factory=list)

    def register(self, reader: object) -> None:
        """Take a reader."""
        self.told.append(reader)

    def watch(self, connection: Connection, endpoint: object) -> None:
        """Take our end of a TLS connection."""
        self.told.append((connection, endpoint))

    def delivered(self) -> None:
        """Hear of progress."""

    def hang_up(self, connection: Connection) -> None:
        """Hear of an end."""
        self.told.append(("hang up", connection))


@dataclass
class Workshop:
    """Is one recorder without its network; `log` reads its lines."""

    shared: Shared
    rundir: Path
    alarms: list[Exception]
    connection: Connections

    @property
    def log(self) -> list[RequestEvent]:
        """Give the log."""
        return list(read_log(self.rundir / "requests.jsonl"))

    def flow(self, url: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[http.HTTPFlow, Exchange]:
        """Open an exchange as the intake does; header names have underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        flow = tflow.tflow(req=http.Request.make(method, url, body, named))
        flow.client_conn.id = CLIENT
        target = parse_url(url)
        exchange = self.shared.exchanges.open(CLIENT, method, url, target)
        exchange.request = Request(method, target, named, body_digest(None, None, body))
        self.shared.attach(flow, exchange)
        return flow, exchange

    def decided(self, url: str, method: str = "GET", **headers: str) -> tuple[http.HTTPFlow, Exchange]:
        """Open an exchange, decide about it and route it, as the addons before do."""
        flow, exchange = self.flow(url, method, **headers)
        assert exchange.request is not None
        assert exchange.target is not None
        exchange.decision = self.shared.session.decide(exchange.request)
        exchange.rule = exchange.decision.rule
        exchange.upstream = exchange.target
        exchange.route = Route(exchange.target.scheme, exchange.target.host, exchange.target.port)
        return flow, exchange

    def answer(self, flow: http.HTTPFlow, status: int = 200, body: bytes = b"", **headers: str) -> http.Response:
        """Give a flow an answer's head; a length is announced unless a framing is named."""
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if not {"content_length", "transfer_encoding", "until_close"} & set(headers):
            fields.append((b"content-length", str(len(body)).encode()))
        fields = [pair for pair in fields if pair[0] != b"until-close"]
        flow.response = http.Response(b"HTTP/1.1", status, b"Fine", http.Headers(fields), body, None, 0.0, None)
        return flow.response


def context(address: tuple[str, int] | None = None) -> Context:
    """Make the context of a layer on the client's connection; `address` is that of its tunnel."""
    client = tflow.tclient_conn()
    client.id = CLIENT
    made = Context(client, layer_options())
    made.server = Server(address=address)
    return made


@contextmanager
def workshop(folder: Path, rules: str, *, credentials: Path | None = None) -> Iterator[Workshop]:
    """Set one up under rules, which are the lines below `rules:`."""
    (folder / "rules.yaml").write_text("rules:\n" + rules)
    rundir = folder / "run"
    rundir.mkdir(mode=0o700)
    ProxySettings(
        rules=folder / "rules.yaml",
        snapshot=folder / "network",
        store=str(folder / "store"),
        pool="test",
        credentials=credentials,
    ).write(rundir)
    session = Session.load(rundir, Mode.RECORD)
    alarms: list[Exception] = []
    connection = Connections()

    def observe(entry: Entry) -> None:
        session.store.observe("test", Observation(entry.id, entry.sha256, "observer", "run", 0.0))

    with ThreadPoolExecutor(1) as pool:
        shared = Shared(
            session,
            session.bindings,
            observe,
            Exchanges(session.log, lambda: session.step),
            Engine(),
            pool,
            alarms.append,
        )
        shared.connections[CLIENT] = cast("RecorderConnection", connection)
        try:
            yield Workshop(shared, rundir, alarms, connection)
        finally:
            pool.shutdown()
            session.close()


def bound(folder: Path, host: str = "private.example.org") -> Path:
    """Bind the credential `private`, whose secret is correct-horse-battery, to a host."""
    (folder / "secret").write_text("correct-horse-battery\n")
    (folder / "secret").chmod(0o600)
    file = folder / "credentials.yaml"
    file.write_text(
        f"credentials:\n  private:\n    host: https://{host}\n    path: /in\n"
        f"    secret_file: {folder / 'secret'}\n    as: bearer\n"
    )
    file.chmod(0o600)
    return file


def problem(exchange: Exchange) -> tuple[str, int]:
    """Give outcome and status of what an exchange ended as."""
    assert exchange.problem is not None
    return cast("Any", exchange.problem.outcome.value), exchange.problem.status

"""One connection: no fault is passed over, nothing is read for which there is no room, and its end is told apart."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import http, tls
from mitmproxy.connection import Server
from mitmproxy.proxy import commands, layer, layers, server_hooks
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.test import tflow

from hermit_proxy.recorder.budget import Budget
from hermit_proxy.recorder.chain import Chain
from hermit_proxy.recorder.connection import GatedReader, RecorderConnection
from hermit_proxy.recorder.dialer import DialError, Streams
from hermit_proxy.recorder.endpoint import TlsEndpoint
from hermit_proxy.recorder.exchange import Exchanges
from hermit_proxy.recorder.layeroptions import layer_options
from hermit_proxy.recorder.strict_http import MAX_UNREAD, StrictHttp1Server, strict_layer
from hermit_proxy.run.events import Outcome, RequestEvent
from tests.fuzz import intake
from tests.fuzz.intake import Observer

URL = "https://example.org/"


class Reader:
    """Stands for a reader of requests at a certain point."""

    def __init__(self, unread: int = 0, holds: int = 0) -> None:
        self.unread, self.holds = unread, holds


class Exploding:
    def request(self, _flow: object) -> None:
        raise ZeroDivisionError

    tls_start_server = server_connect = request


async def nobody(_client: str, _server: Server) -> Streams:
    raise DialError("nobody is there")


class World:
    """Is a connection over a real socket pair, and its log."""

    def __init__(self, dial: Callable[[str, Server], Awaitable[Streams]] = nobody) -> None:
        self.lines: list[RequestEvent] = []
        self.exchanges = Exchanges(self.lines.append, lambda: None)
        self.budget = Budget(1000)
        self.addons = Chain()
        self._dial = dial

    async def __aenter__(self) -> RecorderConnection:
        ours, self._theirs = socket.socketpair()
        streams = await asyncio.open_connection(sock=ours)
        self._writer = streams[1]
        return RecorderConnection(self.addons, streams, layer_options(), self.exchanges, self.budget, self._dial)

    async def __aexit__(self, *_error: object) -> None:
        self._theirs.close()
        self._writer.close()


def reading(connection: RecorderConnection, *readers: Reader) -> None:
    for reader in readers:
        connection.register(cast("StrictHttp1Server", reader))


def test_what_an_addon_raises_fails_the_request_and_drops_the_flow() -> None:
    async def scenario() -> None:
        world = World()
        async with world as connection:
            world.addons.add(Exploding())
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            flow = tflow.tflow()
            await connection.handle_hook(layers.http.HttpRequestHook(flow))
            assert exchange.problem is not None
            assert exchange.problem.outcome is Outcome.FAILED
            assert "ZeroDivisionError in the hook `request`" in exchange.problem.reason
            assert (flow.error is not None, flow.live) == (True, False)

    asyncio.run(scenario())


def test_what_an_addon_raises_takes_away_what_an_earlier_one_has_given() -> None:
    async def scenario() -> None:
        world = World()
        async with world as connection:
            world.addons.add(Exploding())
            data = tls.TlsData(Server(address=("example.org", 443)), connection.layer.context)
            data.ssl_conn = cast("Any", object())
            await connection.handle_hook(tls_hook(data))
            assert data.ssl_conn is None
            asked = server_hooks.ServerConnectionHookData(Server(address=("example.org", 443)), connection.client)
            await connection.handle_hook(server_hooks.ServerConnectHook(asked))
            assert asked.server.error is not None

    asyncio.run(scenario())


def tls_hook(data: tls.TlsData) -> commands.StartHook:
    from mitmproxy.proxy.layers.tls import TlsStartServerHook  # noqa: PLC0415  its name clashes with mitmproxy.tls

    return TlsStartServerHook(data)


@pytest.mark.parametrize("crash", [True, False])
def test_a_layer_that_crashes_fails_the_request(crash: bool) -> None:
    async def scenario() -> bool:
        world = World()
        async with world as connection:
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            error = ValueError("odd")
            connection.log("a layer has crashed", exc_info=(ValueError, error, None) if crash else None)
            return exchange.problem is not None

    assert asyncio.run(scenario()) == crash


def test_a_connection_that_nobody_decided_on_is_not_opened() -> None:
    async def scenario() -> tuple[str | None, bool]:
        world = World()
        async with world as connection:
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            server = Server(address=("example.org", 443))
            connection.layer = cast("Any", SimpleNamespace(handle_event=lambda _event: ()))
            await connection.open_connection(commands.OpenConnection(server))
            return server.error, exchange.problem is None

    assert asyncio.run(scenario()) == ("nobody is there", True)


def test_a_fault_while_dialling_is_a_failure_of_ours() -> None:
    async def fault(_client: str, _server: Server) -> Streams:
        raise ZeroDivisionError

    async def scenario() -> str:
        world = World(fault)
        async with world as connection:
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            await connection.open_connection(commands.OpenConnection(Server(address=("example.org", 443))))
            assert exchange.problem is not None
            return exchange.problem.reason

    assert "ZeroDivisionError while connecting" in asyncio.run(scenario())


@pytest.mark.parametrize(
    ("unread", "holds", "held", "waits"),
    [
        (0, 0, 0, False),
        (MAX_UNREAD, 0, 0, False),
        (MAX_UNREAD + 1, 0, 0, True),
        (0, 400, 600, False),
        (0, 401, 600, True),
    ],
)
def test_a_client_is_read_where_there_is_room(unread: int, holds: int, held: int, waits: bool) -> None:
    async def scenario() -> bool:
        world = World()
        async with world as connection:
            await world.budget.take("another", held)
            reading(connection, Reader(), Reader(unread, holds))
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            gate = asyncio.create_task(connection._client_gate())
            for _ in range(5):
                await asyncio.sleep(0)
            waiting = not gate.done()
            assert ("waited" in (exchange.note or "")) == (waits and not unread)
            gate.cancel()
            await asyncio.wait([gate])
            return waiting

    assert asyncio.run(scenario()) == waits


def test_what_a_body_does_not_need_any_more_is_given_back() -> None:
    async def scenario() -> list[int]:
        world = World()
        async with world as connection:
            reader = Reader(holds=400)
            reading(connection, reader)
            await connection._client_gate()
            free = [world.budget.free]
            for reader.holds in (100, 0):
                connection._wake()
                free.append(world.budget.free)
            return free

    assert asyncio.run(scenario()) == [600, 900, 1000]


class Ended:
    def __init__(self, *, by_peer: bool) -> None:
        self.closed_by_peer = by_peer


@pytest.mark.parametrize(
    ("endpoint", "broken"), [(None, False), (Ended(by_peer=True), False), (Ended(by_peer=False), True)]
)
def test_the_end_of_a_tls_connection_is_its_servers_own_or_a_break(endpoint: Ended | None, broken: bool) -> None:
    async def scenario() -> bool:
        world = World()
        async with world as connection:
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            server = Server(address=("example.org", 443))
            if endpoint is not None:
                connection.watch(server, cast("TlsEndpoint", endpoint))
            connection._server_took(server, 0)
            return exchange.broken_off

    assert asyncio.run(scenario()) == broken


def test_heads_without_end_fail_and_pieces_that_come_through_begin_anew() -> None:
    async def scenario() -> None:
        world = World()
        async with world as connection:
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            server = Server(address=("example.org", 443))
            for _ in range(8):
                connection._server_took(server, 1 << 20)
                connection.delivered()
            assert exchange.problem is None
            connection._server_took(server, 1 << 20)
            connection._server_took(server, 1 << 20)
            assert exchange.problem is not None

    asyncio.run(scenario())


class Refusing:
    """Stands for the addons where nothing is admitted."""

    def next_layer(self, data: layer.NextLayer) -> None:
        data.layer = strict_layer(data.context, HTTPMode.regular, Observer(), lambda _reader: None)

    def request(self, flow: http.HTTPFlow) -> None:
        flow.response = http.Response.make(403, b"no")


def test_requests_that_come_all_at_once_are_answered_one_behind_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_BODY_LIMIT", 1 << 20)
    count = 500  # answered inside each other they would be deeper than Python's stack may be

    async def scenario() -> bytes:
        world = World()
        async with world as connection:
            world.addons.add(Refusing())
            connection.transports[connection.client].reader.feed_data(  # type: ignore[union-attr]  # it is a StreamReader
                b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n" * count
            )
            serving = asyncio.create_task(connection.handle_client())
            reader, writer = await asyncio.open_connection(sock=world._theirs)
            answers = await reader.readuntil(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno" * count)
            writer.close()
            await serving
            return answers

    assert asyncio.run(scenario()).count(b"403") == count


class Waiting:
    """Stands for an addon that has its answer later."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def requestheaders(self, _flow: object) -> None:
        self.called.append("at once")

    async def request(self, _flow: object) -> None:
        await asyncio.sleep(0)
        self.called.append("later")


def test_a_hook_is_run_where_it_stands_unless_it_has_to_wait_or_fails() -> None:
    async def scenario() -> None:
        world = World()
        async with world as connection:
            waiting = Waiting()
            world.addons.add(waiting)
            flow = tflow.tflow()
            assert connection.run(layers.http.HttpRequestHeadersHook(flow))
            asked = layers.http.HttpRequestHook(flow)
            assert not connection.run(asked)
            await connection.handle_hook(asked)
            assert waiting.called == ["at once", "later"]
            assert not connection.run(layers.http.HttpResponseHook(flow))
            world.addons.add(Exploding())
            exchange = world.exchanges.open(connection.client.id, "GET", URL)
            data = tls.TlsData(Server(address=("example.org", 443)), connection.layer.context)
            assert connection.run(tls_hook(data))
            assert exchange.problem is not None

    asyncio.run(scenario())


class Stream:
    def __init__(self, *pieces: bytes | OSError) -> None:
        self._pieces = iter(pieces)

    async def read(self, _size: int) -> bytes:
        piece = next(self._pieces)
        if isinstance(piece, OSError):
            raise piece
        return piece


def test_a_gated_reader_asks_before_it_reads_and_tells_sizes_ends_and_breaks() -> None:
    told: list[object] = []

    async def gate() -> None:
        told.append("gate")

    async def scenario() -> None:
        reader = GatedReader(
            Stream(b"abc", b"", ConnectionResetError()), gate, told.append, lambda: told.append("broken")
        )
        assert [await reader.read(1), await reader.read(1)] == [b"abc", b""]
        with pytest.raises(ConnectionResetError):
            await reader.read(1)

    asyncio.run(scenario())
    assert told == ["gate", 3, "gate", 0, "gate", "broken"]

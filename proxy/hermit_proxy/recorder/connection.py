"""Drives one client connection through mitmproxy's layers, and closes it where mitmproxy would go on after an error."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from mitmproxy import flow as flows
from mitmproxy import options, tls
from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, layer, mode_specs, server_hooks
from mitmproxy.proxy.server import ConnectionIO, LiveConnectionHandler

from hermit_proxy.recorder.budget import Budget
from hermit_proxy.recorder.chain import Chain
from hermit_proxy.recorder.corked import CorkedWriter
from hermit_proxy.recorder.dialer import DialError, Streams
from hermit_proxy.recorder.endpoint import TlsEndpoint
from hermit_proxy.recorder.exchange import Exchanges
from hermit_proxy.recorder.inplace import ConnectionContext, Next
from hermit_proxy.recorder.strict_http import MAX_UNREAD, StrictHttp1Server

# Seconds without a byte in either direction.
_IDLE_SECONDS = 300
_READ = 1 << 18
_WRITE_BUFFER = 1 << 20
# What may come from upstream between the pieces of a body that reach the client: heads, chunk sizes, TLS.
_MAX_OVERHEAD = 1 << 20
# Where a request ends the layers are left: those that a client sends at once must not be answered inside each other.
_ENDS = frozenset({"response", "http_connect_error"})


class Gate(Protocol):
    """Says when a connection may be read; it is asked before each read."""

    async def __call__(self) -> None:
        """Wait until there is room for what comes."""


class GatedReader:
    """Reads in large pieces, and only where there is room: what is not read slows the sender down."""

    def __init__(self, reader: Any, gate: Gate, took: Callable[[int], None], broken: Callable[[], None]) -> None:
        """Take the stream, its gate, and who learns of sizes (0 for the end) and of a connection that broke."""
        self._reader = reader
        self._gate = gate
        self._took = took
        self._broken = broken

    async def read(self, _size: int) -> bytes:
        """Give what is there, up to 256 KiB; empty at the end."""
        await self._gate()
        try:
            data: bytes = await self._reader.read(_READ)
        except OSError:
            # mitmproxy takes a reset for an end, and a body without a length would look whole.
            self._broken()
            raise
        self._took(len(data))
        return data


class RecorderConnection(LiveConnectionHandler):
    """Is one client connection.

    Beyond mitmproxy's handler it dials through `dial`, and passes over no exception, in an addon or in a layer.
    """

    def __init__(  # noqa: PLR0913, PLR0917  what all connections of a recorder share
        self,
        addons: Chain,
        streams: Streams,
        opts: options.Options,
        exchanges: Exchanges,
        budget: Budget,
        dial: Callable[[str, Server], Awaitable[Streams]],
    ) -> None:
        """Take the addons, the accepted connection, and who knows of requests, memory, and ways to upstream."""
        super().__init__(*streams, opts, mode_specs.ProxyMode.parse("regular"))
        self._addons = addons
        self._exchanges = exchanges
        self._budget = budget
        self._dial = dial
        self._endpoints: dict[Connection, TlsEndpoint] = {}
        self._corks: dict[Connection, CorkedWriter] = {}
        self._readers: list[StrictHttp1Server] = []
        self._overhead = 0
        self._resumed = asyncio.Event()
        self.timeout_watchdog.timeout = _IDLE_SECONDS
        self._begun: dict[commands.StartHook, Awaitable[None]] = {}
        self._inner: layer.Layer | None = None
        self.layer = Next(ConnectionContext(self.client, opts, self))

    def register(self, reader: StrictHttp1Server) -> None:
        """Take a reader of requests on this connection: the outer one, then the one inside the tunnel."""
        self._readers.append(reader)

    def watch(self, connection: Connection, endpoint: TlsEndpoint) -> None:
        """Take our end of a TLS connection, which knows whether the peer has said its last word."""
        self._endpoints[connection] = endpoint

    def endpoint(self, connection: Connection) -> TlsEndpoint | None:
        """Give our end of a TLS connection to upstream."""
        return self._endpoints.get(connection)

    def delivered(self) -> None:
        """Learn that a piece of an answer has come through."""
        self._overhead = 0

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run the addons; whatever one of them raises ends the request, and with it the connection."""
        with self.timeout_watchdog.disarm():
            try:
                await (self._begun.pop(hook, None) or self._addons.call(hook))
            except Exception as error:  # noqa: BLE001  fail closed, whatever it was
                self._fault(hook, error)
            self._wake()

    def run(self, hook: commands.StartHook) -> bool:
        """Run the addons up to the first that has to be waited for, and tell whether there is none."""
        if hook.name in _ENDS:
            return False
        try:
            rest = self._addons.start(hook)
        except Exception as error:  # noqa: BLE001  as above
            self._fault(hook, error)
            return True
        if rest is not None:
            self._begun[hook] = rest
        return rest is None

    def tunnelled(self, inner: layer.Layer) -> None:
        """Have all that comes from now on go to the layer inside of the tunnel."""
        self._inner = inner

    def _fault(self, hook: commands.StartHook, error: Exception) -> None:
        (data,) = hook.args()
        self._crash(f"{type(error).__name__} in the hook `{hook.name}`", error)
        self._stop(data)

    def _stop(self, data: object) -> None:
        """Make sure that what a hook was asked about does not happen."""
        if isinstance(data, flows.Flow):
            data.error = flows.Error(flows.Error.KILLED_MESSAGE)
            data.live = False
        elif isinstance(data, server_hooks.ServerConnectionHookData):
            data.server.error = "the proxy failed"
        elif isinstance(data, tls.TlsData):
            # An earlier addon may have given one already, with which the layer would go on.
            data.ssl_conn = None
            self.hang_up(data.conn)
        self.abort()

    def _crash(self, what: str, error: BaseException | None) -> None:
        exchange = self._exchanges.current(self.client.id)
        if (
            exchange is None
            and (head := self._exchanges.expected(self.client.id)) is not None
            and head.target is not None
        ):
            # It failed before anyone had begun an exchange for the request.
            exchange = self._exchanges.open(self.client.id, head.method, head.target.url, head.target)
        if exchange is not None:
            exchange.fail(f"the proxy failed: {what}", hint="a fault of Hermit: please report it")
        logging.getLogger(__name__).error("the proxy failed: %s", what, exc_info=error)

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Pass mitmproxy's words on, and end the connection where they say that a layer has crashed."""
        if exc_info:
            error = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1]
            self._crash(f"{message} ({error})", error)
            self.abort()
            return
        if level >= logging.ERROR:
            super().log(message, level, exc_info)

    def abort(self) -> None:
        """End the client's connection, after what was already written to it."""
        io = self.transports.get(self.client)
        if io is not None and io.handler is not None:
            io.handler.cancel("aborted")

    def hang_up(self, connection: Connection) -> None:
        """End a connection to upstream; its layers see that it was closed."""
        io = self.transports.get(connection)
        if io is not None and io.handler is not None:
            io.handler.cancel("hung up")

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Dial for mitmproxy; its own way would resolve and connect before anyone has judged the address."""
        server = command.connection
        assert isinstance(server, Server)  # noqa: S101  mitmproxy opens nothing else
        try:
            reader, writer = await self._dial(self.client.id, server)
        except asyncio.CancelledError:
            server.error = "cancelled"
            await self.server_event(events.OpenConnectionCompleted(command, server.error))
            raise
        except Exception as error:  # noqa: BLE001  fail closed, whatever it was
            if not isinstance(error, DialError | OSError):
                self._crash(f"{type(error).__name__} while connecting", error)
            server.error = str(error)
            await self.server_event(events.OpenConnectionCompleted(command, server.error))
            return
        server.timestamp_start = server.timestamp_tcp_setup = time.time()
        server.state = ConnectionState.OPEN
        server.peername = writer.get_extra_info("peername")
        server.sockname = writer.get_extra_info("sockname")
        self.transports[server] = ConnectionIO(handler=asyncio.current_task(), reader=reader, writer=writer)
        await self.server_event(events.OpenConnectionCompleted(command, None))
        await self.handle_connection(server)

    async def handle_connection(self, connection: Connection) -> None:
        """Read a connection through its gate."""
        io = self.transports[connection]
        assert io.writer is not None  # noqa: S101  both callers have set it
        if isinstance(io.writer, asyncio.StreamWriter):
            io.writer.transport.set_write_buffer_limits(_WRITE_BUFFER)
            io.writer = self._corks[connection] = CorkedWriter(io.writer)  # type: ignore[assignment]  # what is called it has
        if connection is self.client:
            io.reader = GatedReader(io.reader, self._client_gate, lambda _size: None, lambda: None)  # type: ignore[assignment]  # read is all that is called
        else:
            io.reader = GatedReader(
                io.reader, self._server_gate, partial(self._server_took, connection), self._server_broke
            )  # type: ignore[assignment]  # as above
        try:
            await super().handle_connection(connection)
        finally:
            self._endpoints.pop(connection, None)
            self._corks.pop(connection, None)
            if connection is self.client:
                self._budget.keep(self.client.id, 0)
            self._wake()

    async def server_event(self, event: events.Event) -> None:
        """Let the layers work, then look again at who may read."""
        await super().server_event(event)
        if self._inner is not None:
            self.layer, self._inner = self._inner, None
        for cork in self._corks.values():
            cork.flush()
        self._wake()

    def _wake(self) -> None:
        self._resumed.set()
        self._budget.keep(self.client.id, self._holds)

    @property
    def _holds(self) -> int:
        return max((reader.holds for reader in self._readers), default=0)

    async def _client_gate(self) -> None:
        # What a client sends before its request is answered lies in memory.
        while any(reader.unread > MAX_UNREAD for reader in self._readers):
            self._resumed.clear()
            await self._resumed.wait()
        holds = self._holds
        if not self._budget.has(self.client.id, holds):
            exchange = self._exchanges.current(self.client.id)
            if exchange is not None:
                exchange.remark(
                    "its body waited for those of other requests: together they are more than memory is for"
                )
        await self._budget.take(self.client.id, holds)

    async def _server_gate(self) -> None:
        exchange = self._exchanges.current(self.client.id)
        if exchange is not None and exchange.room is not None:
            await exchange.room()

    def _server_took(self, connection: Connection, size: int) -> None:
        if not size:
            endpoint = self._endpoints.get(connection)
            if endpoint is not None and not endpoint.closed_by_peer:
                # Whoever is in between can do that: only close_notify is the server's own end (RFC 8446 section 6.1).
                self._server_broke()
            return
        self._overhead += size
        if self._overhead > _MAX_OVERHEAD + _READ:
            exchange = self._exchanges.current(self.client.id)
            if exchange is not None:
                exchange.fail("the server sends heads or chunk sizes without end")
            self.hang_up(connection)

    def _server_broke(self) -> None:
        exchange = self._exchanges.current(self.client.id)
        if exchange is not None:
            exchange.broken_off = True

"""Runs mitmproxy's core on listening sockets that were handed over, with the addons in the order of their decisions."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mitmproxy.connection import Server

from hermit_proxy.credentials.bindings import Bindings
from hermit_proxy.recorder.addons.certificates import Certificates
from hermit_proxy.recorder.addons.credentials import Credentials, Reflections
from hermit_proxy.recorder.addons.decide import Decide
from hermit_proxy.recorder.addons.headers import Headers
from hermit_proxy.recorder.addons.intake import Intake
from hermit_proxy.recorder.addons.next_layer import NextLayer
from hermit_proxy.recorder.addons.record import Record
from hermit_proxy.recorder.addons.redirects import Redirects
from hermit_proxy.recorder.addons.report import Report
from hermit_proxy.recorder.budget import Budget
from hermit_proxy.recorder.chain import Chain
from hermit_proxy.recorder.connection import RecorderConnection
from hermit_proxy.recorder.dialer import STREAM_LIMIT, Dialer, DialError, Streams, connect_loopback
from hermit_proxy.recorder.exchange import Exchanges
from hermit_proxy.recorder.layeroptions import layer_options
from hermit_proxy.recorder.lookups import Resolve, resolve
from hermit_proxy.recorder.shared import Engine, Shared
from hermit_proxy.recorder.upstream_http import install
from hermit_proxy.run.session import Session
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.observation import Observation, observer_id
from hermit_proxy.upstream import guard
from hermit_proxy.upstream.own import own_addresses

# A build has some dozens; what is beyond waits in the listening socket's queue or is closed.
_MAX_CONNECTIONS = 1024
# Hashing and writing beside the event loop: more threads than processors help nobody, but commits wait for disks.
_THREADS = 4


class Recorder:
    """Is the recorder of one run. States: made -> listening (on any number of sockets) -> finishing -> stopped."""

    def __init__(  # noqa: PLR0913  the parts of a recorder, each made elsewhere
        self,
        session: Session,
        bindings: Bindings,
        engine: Engine,
        *,
        upstream: ssl.SSLContext,
        for_host: Callable[[str], ssl.SSLContext],
        alarm: Callable[[Exception], None],
        resolver: Resolve = resolve,
        budget: Budget | None = None,
    ) -> None:
        """Take the session, what answers from the store, both ends' TLS, and whom to tell when the run is worthless."""
        logging.getLogger("mitmproxy").setLevel(logging.ERROR)
        self._pool = ThreadPoolExecutor(_THREADS, "store")
        settings = session.settings
        allow = guard.parse_allow(list(settings.upstream_allow))
        self._dialer = Dialer(allow, own_addresses, resolver, settings.settings_file)
        self._exchanges = Exchanges(session.log, lambda: session.step)
        observer, run = observer_id(os.environ), session.rundir.name
        pool = settings.pool

        def observe(entry: Entry) -> None:
            session.store.observe(pool, Observation(entry.id, entry.sha256, observer, run, time.time()))

        self._shared = Shared(session, bindings, observe, self._exchanges, engine, self._pool, alarm)
        self._observer = Intake(self._shared, settings.upload_limit)
        self._budget = budget or Budget()
        self._options = layer_options()
        install()
        self._addons = Chain()
        self.add_addons(
            NextLayer(self._shared, self._observer),
            Certificates(self._shared, upstream, for_host),
            self._observer,
            Decide(self._shared),
            Reflections(self._shared),
            Redirects(self._shared),
            Credentials(self._shared),
            Headers(self._shared),
            Record(self._shared),
            Report(self._shared),
        )
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add_addons(self, *addons: object) -> None:
        """Put addons behind those that are there."""
        self._addons.add(*addons)

    async def listen(self, sock: socket.socket) -> None:
        """Accept clients on a listening socket, which belongs to the recorder from now on."""
        sock.setblocking(False)
        self._servers.append(await asyncio.start_server(self._serve, sock=sock, limit=STREAM_LIMIT))

    async def finish(self, grace: float) -> None:
        """Accept nobody any more, wait `grace` seconds for what is under way, and end what is still there."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        try:
            async with asyncio.timeout(grace):
                await self._exchanges.idle()
        except TimeoutError:
            pass
        for connection in tuple(self._shared.connections.values()):
            connection.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for exchange in self._exchanges.open_exchanges():
            exchange.fail("the run ended first")
            self._exchanges.close(exchange)
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._shared.connections) >= _MAX_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        streams = (reader, writer)
        handler = RecorderConnection(self._addons, streams, self._options, self._exchanges, self._budget, self._dial)
        self._shared.connections[handler.client.id] = handler
        try:
            await handler.handle_client()
        finally:
            del self._shared.connections[handler.client.id]
            self._tasks.discard(task)

    async def _dial(self, client: str, server: Server) -> Streams:
        """Connect to where the open exchange was routed, and nowhere else."""
        exchange = self._exchanges.current(client)
        route = exchange.route if exchange is not None and exchange.problem is None else None
        if exchange is None or route is None or server.address is None:
            raise DialError("nothing was decided about this connection", refused=True)
        if (server.address[0], server.address[1], server.tls) != (route.host, route.port, route.scheme == "https"):
            raise DialError(f"decided was {route}, not {server.address}", refused=True)
        if route.internal:
            return await connect_loopback(route.port)
        try:
            return await self._dialer.dial(route.host, route.port)
        except DialError as error:
            if error.refused:
                exchange.refuse(str(error), hint=error.hint)
            else:
                exchange.fail(str(error), hint=error.hint)
            raise

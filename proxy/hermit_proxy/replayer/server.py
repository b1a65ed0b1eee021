"""Accepts connections within bounds, and ends those that are too slow: one timer for all of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from hermit_proxy.replayer.connection import Connection
from hermit_proxy.replayer.hub import Hub, Member

_DRAIN_STEP = 0.01


class Server:
    """Is a hub for connections. States: made -> serving (any number of sockets) -> draining -> closed."""

    def __init__(self, connect: Callable[[Hub], Connection], *, limit: int, sweep: float) -> None:
        """Take what makes a connection, how many there may be, and how often (seconds) time-outs are looked at."""
        self._connect = connect
        self._limit = limit
        self._sweep_every = sweep
        self._servers: list[asyncio.Server] = []
        self._empty = asyncio.Event()
        self._open: set[Member] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._open)

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a listening socket, which belongs to the server from now on."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._servers.append(await loop.create_server(lambda: self._connect(self), sock=sock))
        if self._timer is None:
            self._timer = loop.call_later(self._sweep_every, self._sweep)

    async def drain(self, grace: float) -> None:
        """Accept no more and wait at most `grace` seconds for answers under way."""
        for server in self._servers:
            server.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while any(connection.busy for connection in self._open) and loop.time() < end:  # noqa: ASYNC110  many ways to be busy
            await asyncio.sleep(_DRAIN_STEP)

    async def close(self) -> None:
        """Hang up on everybody; closing twice is safe."""
        for server in self._servers:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            self._empty.clear()
            await self._empty.wait()

    def opened(self, connection: Member) -> bool:
        """Take a connection; where there are too many, the one that has been idle longest makes room."""
        self._open.add(connection)
        if len(self._open) <= self._limit:
            return True
        idle = [other for other in self._open if other.idle and other is not connection]
        if not idle:
            return False
        min(idle, key=lambda other: other.idle_since).abort()
        return True

    def closed(self, connection: Member) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        if not self._open:
            self._empty.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [connection for connection in self._open if connection.deadline < now]:
            connection.expire()
        self._timer = loop.call_later(self._sweep_every, self._sweep)

"""Asks the resolver once for all who want a name in the same moment: a burst of questions is what resolvers drop."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from hermit_proxy.upstream.guard import Address

Resolve = Callable[[str, int], Awaitable[list[Address]]]


async def resolve(host: str, port: int) -> list[Address]:
    """Ask the system's resolver for the addresses of a name, in its order of preference; a literal is itself."""
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    # A zone (fe80::1%eth0) comes apart from the address in sockaddr: what is judged is what is connected to.
    return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]


class Lookups:
    """Shares an answer of the resolver among all who wait for it; who comes later asks again.

    Nothing is kept: a name is judged anew for each connection. Debian 12's npm makes a connection for each of its
    hundreds of requests, and a question that got lost costs 5 s.
    """

    def __init__(self, resolver: Resolve) -> None:
        """Take the resolver."""
        self._resolver = resolver
        self._asked: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str, port: int, *, seconds: float) -> list[Address]:
        """Give the addresses of a host; raise what the resolver raises, or TimeoutError."""
        answer = self._asked.get((host, port))
        if answer is None:
            answer = self._asked[host, port] = asyncio.ensure_future(self._resolver(host, port))
            answer.add_done_callback(lambda done: self._forget(host, port, done))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(answer)  # others may wait for it
        except TimeoutError:
            self._forget(host, port, answer)
            raise

    def _forget(self, host: str, port: int, answer: asyncio.Future[list[Address]]) -> None:
        if self._asked.get((host, port)) is answer:
            del self._asked[host, port]
        if answer.done() and not answer.cancelled():
            answer.exception()  # all who asked may have gone

"""Opens connections to upstream: resolves once, has every address judged, and connects to a judged one."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hermit_proxy.recorder.lookups import Lookups, Resolve, resolve
from hermit_proxy.upstream import guard, openings

# Seconds. An address that does not answer must leave time for the next one before clients give up (60 s in most).
_RESOLVE_SECONDS = 20.0
_CONNECT_SECONDS = 15.0
_MAX_ADDRESSES = 8
# Debian 12's npm opens a thousand connections in a moment; most of them then get no answer from resolver or registry.
_AT_ONCE = 16
# The plain asyncio default of 64 KiB costs a turn of the event loop for each piece.
STREAM_LIMIT = 1 << 18

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DialError(Exception):
    """Is raised where no connection may be made (`refused`) or none could be made."""

    def __init__(self, reason: str, *, refused: bool = False, hint: str | None = None) -> None:
        """Take what happened to which host, in words."""
        super().__init__(reason)
        self.refused = refused
        self.hint = hint


@dataclass(frozen=True)
class Dialer:
    """Connects where the guard lets it; `allow` are the operator's openings, `own` this machine's addresses.

    `settings_file` is where the operator writes such openings. Only so many dials to one host are under way at once;
    the time limits of the others begin when it is their turn.
    """

    allow: guard.Allow
    own: Callable[[], frozenset[guard.Address]]
    resolver: Resolve = resolve
    settings_file: str | None = None
    _turns: dict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(_AT_ONCE)), init=False, repr=False, compare=False
    )
    _lookups: Lookups = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Share what the resolver answers among the dials."""
        object.__setattr__(self, "_lookups", Lookups(self.resolver))

    async def dial(self, host: str, port: int) -> Streams:
        """Connect to a normalised host; raise DialError.

        One refused address refuses the host: a name with public and private addresses is what DNS rebinding looks like.
        """
        async with self._turns[host]:
            return await self._dial(host, port)

    async def _dial(self, host: str, port: int) -> Streams:
        addresses = await self._addresses(host, port)
        closed = [address for address in addresses if not self.allow.admits(host, port, address)]
        own = self.own() if closed else frozenset()  # the kernel is asked: only where it decides
        for address in closed:
            reason = guard.refusal(address, self.allow, own, host=host, port=port)
            if reason is not None:
                raise DialError(f"{host}: {reason}", refused=True, hint=self._opening(address, host, port))
        return await _connect_first(addresses, host, port)

    def _opening(self, address: guard.Address, host: str, port: int) -> str | None:
        """Give the lines that open an address, to be pasted as they are; None where none do."""
        item = openings.item_for(address, host, port, self.own())
        return None if item is None else openings.hint(self.settings_file or "~/.config/hermit/config.yaml", item)

    async def _addresses(self, host: str, port: int) -> list[guard.Address]:
        try:
            addresses = await self._lookups.addresses(host, port, seconds=_RESOLVE_SECONDS)
        except TimeoutError as error:
            raise DialError(f"{host} cannot be resolved: no answer within {_RESOLVE_SECONDS:.0f} s") from error
        except (OSError, UnicodeError, ValueError) as error:
            raise DialError(f"{host} cannot be resolved: {getattr(error, 'strerror', None) or error}") from error
        if not addresses:
            raise DialError(f"{host} has no address")
        return list(dict.fromkeys(addresses))[:_MAX_ADDRESSES]


async def connect_loopback(port: int) -> Streams:
    """Connect to the proxy's own answer engine."""
    return await _connect(ipaddress.IPv4Address("127.0.0.1"), port)


async def _connect_first(addresses: Iterable[guard.Address], host: str, port: int) -> Streams:
    problems = []
    for address in addresses:
        try:
            return await _connect(address, port)
        except (OSError, TimeoutError) as error:
            problems.append(f"{address}: {getattr(error, 'strerror', None) or 'no answer'}")
    raise DialError(f"{host} cannot be reached on port {port} ({'; '.join(problems)})")


async def _connect(address: guard.Address, port: int) -> Streams:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004  IPv6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        return await asyncio.open_connection(sock=sock, limit=STREAM_LIMIT)
    except BaseException:
        sock.close()
        raise

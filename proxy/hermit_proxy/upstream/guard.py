"""Refuses upstream addresses that are not the public internet: a build must not reach what only its host can reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from hermit_proxy.request.target import BadTargetError, parse_authority
from hermit_proxy.upstream.own import own_addresses
from hermit_proxy.upstream.ranges import Address, Network, embedded_ipv4, refused_range

__all__ = ["Address", "Allow", "own_addresses", "parse_allow", "refusal"]

# Wider openings would be an off switch.
_WIDEST = 8


@dataclass(frozen=True, slots=True)
class Allow:
    """Is what the operator opens: names and networks, each with a port or None for every port."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    def names(self, host: str, port: int) -> bool:
        """Tell whether a host is opened by its name."""
        return (host, None) in self.hosts or (host, port) in self.hosts

    def covers(self, address: Address, port: int) -> bool:
        """Tell whether an address is opened as such; an IPv4 network opens no IPv6 form of its addresses."""
        return any(address in network and opened in {None, port} for network, opened in self.networks)

    def admits(self, host: str, port: int, address: Address) -> bool:
        """Tell whether a connection to a refused address is opened.

        A name opens private ranges. It does not open metadata services, link-local addresses and disguised
        IPv4 addresses: who controls the name's DNS would choose among them. Those are opened by address only.
        """
        if self.covers(address, port):
            return True
        found = refused_range(address)
        return self.names(host, port) and (found is None or found.by_name)


def refusal(address: Address, allow: Allow, own: frozenset[Address], *, host: str = "", port: int = 0) -> str | None:
    """Say why a connection to an address is refused, None where it is not.

    `host` and `port` are what the client asked for, already normalised; `own` are this machine's addresses.
    """
    if allow.admits(host, port, address):
        return None
    found = refused_range(address)
    if found is not None:
        return f"{address} is {found.kind}{_disguised(address)}"
    if any(address.version == mine.version and int(address) == int(mine) for mine in own):
        return f"{address} is this machine itself"
    # What our table does not know yet, a newer Python's may.
    return None if address.is_global else f"{address} is not a public address"


def _disguised(address: Address) -> str:
    embedded = embedded_ipv4(address) if isinstance(address, ipaddress.IPv6Address) else None
    if embedded is None:
        return ""
    found = refused_range(embedded)
    return f": {embedded}, {found.kind}" if found else f": {embedded}"


def parse_allow(items: Iterable[str]) -> Allow:
    """Read `upstream.allow`: `host`, an address, either with a port, or CIDR; raise ValueError naming the item."""
    hosts: set[tuple[str, int | None]] = set()
    networks: list[tuple[Network, int | None]] = []
    for item in items:
        if "/" in item:
            networks.append((_parse_network(item), None))
            continue
        bare_ipv6 = item.count(":") > 1 and not item.startswith("[")
        try:
            host, number = parse_authority(f"[{item}]" if bare_ipv6 else item, default_port=0)
        except BadTargetError as error:
            raise ValueError(f"{item!r} is no host[:port], address[:port] or network (10.0.0.0/8): {error}") from error
        port = number or None
        try:
            networks.append((ipaddress.ip_network(host), port))
        except ValueError:
            hosts.add((host, port))
    return Allow(frozenset(hosts), tuple(networks))


def _parse_network(item: str) -> Network:
    try:
        network = ipaddress.ip_network(item)
    except ValueError as error:
        raise ValueError(f"{item!r} is no network: {error}") from error
    if network.prefixlen < _WIDEST:
        raise ValueError(f"{item!r} is wider than /{_WIDEST}: the guard has no off switch, open what is needed")
    return network

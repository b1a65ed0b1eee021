"""Names the address ranges that are not the public internet, and the IPv4 addresses that IPv6 forms hide."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Range:
    """Is one refused network; `by_name` tells whether a host that the operator names may lie in it."""

    network: Network
    kind: str
    by_name: bool = False


def _ranges(kind: str, *networks: str, by_name: bool = False) -> tuple[Range, ...]:
    return tuple(Range(ipaddress.ip_network(network), kind, by_name) for network in networks)


# The first match is told. Sources: IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890), the clouds' manuals.
REFUSED = (
    *_ranges("a metadata service", "169.254.169.254/32", "169.254.170.0/24", "100.100.100.200/32", "192.0.0.192/32"),
    *_ranges("a metadata service", "168.63.129.16/32", "fd00:ec2::/32", "fd20:ce::/32"),
    *_ranges("unspecified", "0.0.0.0/8", "::/128"),
    *_ranges("loopback", "127.0.0.0/8", "::1/128", by_name=True),
    *_ranges("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", by_name=True),
    *_ranges("shared between customers of a carrier", "100.64.0.0/10", by_name=True),
    *_ranges("link-local", "169.254.0.0/16", "fe80::/10"),
    *_ranges("site-local", "fec0::/10"),
    *_ranges("multicast", "224.0.0.0/4", "ff00::/8"),
    *_ranges("for IETF protocols", "192.0.0.0/24"),
    *_ranges("for documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", by_name=True),
    *_ranges("for documentation", "2001:db8::/32", "3fff::/20", by_name=True),
    *_ranges("for benchmarks", "198.18.0.0/15", "2001:2::/48", by_name=True),
    *_ranges("a 6to4 relay", "192.88.99.0/24"),
    *_ranges("reserved", "240.0.0.0/4"),
    *_ranges("an IPv4 address mapped into IPv6", "::ffff:0:0/96"),
    *_ranges("an IPv4 address translated into IPv6", "::ffff:0:0:0/96"),
    *_ranges("an IPv4-compatible IPv6 address", "::/96"),
    *_ranges("an IPv4 address behind NAT64", "64:ff9b::/96", "64:ff9b:1::/48"),
    *_ranges("6to4", "2002::/16"),
    *_ranges("Teredo", "2001::/32"),
    *_ranges("for IETF protocols", "2001::/23"),
    *_ranges("discarded", "100::/64", "100:0:0:1::/64"),
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_EVERYTHING = ipaddress.IPv6Network("::/0")
_LAST_32_BITS = tuple(
    ipaddress.IPv6Network(form)
    for form in ("::ffff:0:0/96", "::ffff:0:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
# Addresses whose range is remembered: a build asks few hosts, and npm's makes a connection for each request.
_KNOWN = 1024
# RFC 5214: under any prefix the interface part is [0200]:5efe and an IPv4 address.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


@lru_cache(_KNOWN)
def refused_range(address: Address) -> Range | None:
    """Find the refused range that an address lies in; None for an address of the public internet."""
    for refused in REFUSED:
        # Of different versions, no address is in a network.
        if address in refused.network:
            return refused
    if isinstance(address, ipaddress.IPv6Address):
        if _is_isatap(address):
            return Range(_EVERYTHING, "an IPv4 address in an ISATAP tunnel")
        if address not in _GLOBAL_UNICAST:
            return Range(_EVERYTHING, "outside of the part of IPv6 that is given out")
    return None


def embedded_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Give the IPv4 address that a mapped, translated, compatible, NAT64, 6to4, Teredo or ISATAP form carries."""
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if int(address) > 1 and (_is_isatap(address) or any(address in form for form in _LAST_32_BITS)):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFFFFFF in _ISATAP

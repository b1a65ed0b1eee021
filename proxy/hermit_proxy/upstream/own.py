"""Lists this machine's own addresses, which the guard keeps builds away from whatever range they lie in."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

from hermit_proxy.errors import HermitError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# rtnetlink(7): RTM_GETADDR, asked for everything.
_ROUTE = 0
_GETADDR, _NEWADDR, _ERROR, _DONE = 22, 20, 2, 3
_REQUEST_DUMP = 0x301
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_BUFFER = 1 << 16
_MAX_PACKETS = 10_000


def own_addresses() -> frozenset[Address]:
    """Read the addresses of all interfaces of this network namespace; raise HermitError if it cannot."""
    request = _HEADER.pack(_HEADER.size + _ADDRESS.size, _GETADDR, _REQUEST_DUMP, 1, 0) + _ADDRESS.pack(0, 0, 0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE) as netlink:
            netlink.settimeout(5)
            netlink.send(request)
            return frozenset(_read(netlink))
    except OSError as error:
        raise HermitError(f"this machine's own addresses cannot be read: {error}") from error


def _read(netlink: socket.socket) -> Iterator[Address]:
    for _ in range(_MAX_PACKETS):
        for kind, payload in _messages(netlink.recv(_BUFFER)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("the kernel refused the question")
            if kind == _NEWADDR and (address := _parse(payload)) is not None:
                yield address
    raise OSError("the kernel's answer does not end")


def _messages(packet: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _HEADER.size <= len(packet):
        length, kind, *_ = _HEADER.unpack_from(packet, position)
        yield kind, packet[position + _HEADER.size : position + length]
        position += max(_aligned(length), _HEADER.size)


def _parse(payload: bytes) -> Address | None:
    """Give the local end: on a point-to-point interface IFA_ADDRESS is the peer's."""
    family = payload[0]
    found: dict[int, bytes] = {}
    position = _ADDRESS.size
    while position + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, position)
        found[kind] = payload[position + _ATTRIBUTE.size : position + length]
        position += max(_aligned(length), _ATTRIBUTE.size)
    packed = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS))
    if packed is None or family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    return ipaddress.ip_address(packed)


def _aligned(length: int) -> int:
    return (length + 3) & ~3

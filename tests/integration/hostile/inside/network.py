"""Tries the ways out that are sockets: addresses, families, names, and what would make a new way."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from typing import Any

from tests.integration.hostile.inside.attempt import attempt, each

Task = dict[str, Any]
_SIOCSIFADDR, _SIOCSIFFLAGS, _SIOCADDRT = 0x8916, 0x8914, 0x890B
_DNS = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01"


def own_addresses(kind: int) -> list[str]:
    """Give the addresses that a route to anywhere begins at."""
    found = []
    for version, far in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        if version == kind:
            try:
                with socket.socket(version, socket.SOCK_DGRAM) as sock:
                    sock.connect((far, 9))
                    found.append(str(sock.getsockname()[0]))
            except OSError:
                continue
    return found


def tcp(kind: int, hosts: list[str], port: int) -> bool:
    error: OSError | None = None
    for host in hosts:
        try:
            with socket.socket(kind, socket.SOCK_STREAM) as sock:
                sock.settimeout(1)
                sock.connect((host, port))
                return True
        except OSError as found:
            error = found
    if error:
        raise error
    return False


def udp(kind: int, hosts: list[str], port: int, octets: bytes = b"x") -> bool:
    """Send and wait for an answer."""
    for host in hosts:
        try:
            with socket.socket(kind, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0.3)
                sock.connect((host, port))
                sock.send(octets)
                if sock.recv(512):
                    return True
        except OSError:
            continue
    return False


def unix(name: str, kind: int) -> None:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.connect(name)


def opened(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


each(
    "tcp",
    "host",
    {
        "loopback": lambda task: tcp(socket.AF_INET, ["127.0.0.1", "127.0.0.2", "0.0.0.0"], task["tcp"]),  # noqa: S104  an address to be tried
        "own": lambda task: tcp(socket.AF_INET, [*own_addresses(socket.AF_INET), *task["addresses"]], task["tcp"]),
    },
)
each(
    "udp",
    "host",
    {
        "loopback": lambda task: udp(socket.AF_INET, ["127.0.0.1"], task["udp"]),
        "own": lambda task: udp(socket.AF_INET, [*own_addresses(socket.AF_INET), *task["addresses"]], task["udp"]),
    },
)
each(
    "dns",
    "host",
    {
        "asked": lambda task: udp(socket.AF_INET, ["127.0.0.1", *task["addresses"]], task["udp"], _DNS),
        "by tcp": lambda task: tcp(socket.AF_INET, ["127.0.0.1", *task["addresses"]], task["tcp"]),
        "resolver": lambda task: bool(socket.getaddrinfo(task["name"], 80)),
    },
)
each(
    "ipv6",
    "host",
    {
        "loopback": lambda task: tcp(socket.AF_INET6, ["::1", "::ffff:127.0.0.1"], task["tcp"]),
        "udp": lambda task: udp(socket.AF_INET6, ["::1"], task["udp6"]),
    },
)
each(
    "raw",
    "open",
    {
        "ipv4": lambda _: opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "ipv6": lambda _: opened(socket.AF_INET6, socket.SOCK_RAW, 58),
        "udp": lambda _: opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP),
        "packet": lambda _: opened(17, socket.SOCK_RAW, socket.htons(3)),
        "packet by its old name": lambda _: opened(socket.AF_INET, 10, socket.htons(3)),
    },
)
each(
    "protocol",
    "host",
    {
        name: lambda _, kind=kind, number=number: opened(socket.AF_INET, kind, number)
        for name, kind, number in (
            *(("sctp", 5, 132), ("dccp", 6, 33), ("dccp by its type", 6, 0), ("l2tp", 2, 115), ("udplite", 2, 136)),
        )
    },
)
each(
    "netlink",
    "host",
    {
        name: lambda _, number=number: opened(socket.AF_NETLINK, socket.SOCK_RAW, number)
        for name, number in (
            *(("programs", 2), ("sockets", 4), ("ipsec", 6), ("selinux", 7), ("scsi", 8), ("audit", 9), ("filter", 12)),
            *(("devices", 15), ("generic", 16), ("disks", 18), ("rdma", 20), ("crypto", 21), ("smc", 22)),
        )
    },
)
each(
    "family",
    "host",
    {
        name: lambda _, family=family, kind=kind: opened(family, kind)
        for name, family, kind in (
            *(("x25", 9, 5), ("rds", 21, 5), ("can", 29, 3), ("tipc", 30, 1), ("bluetooth", 31, 5), ("alg", 38, 5)),
            *(("nfc", 39, 5), ("vsock", 40, 1), ("kcm", 41, 5), ("qipcrtr", 42, 2), ("smc", 43, 1), ("xdp", 44, 3)),
        )
    },
)
each(
    "abstract",
    "host",
    {
        "stream": lambda task: unix(task["abstract"], socket.SOCK_STREAM),
        "neighbour": lambda task: unix(task["neighbour_abstract"], socket.SOCK_STREAM),
    },
)
each(
    "unix",
    "host",
    {
        "stream": lambda task: unix(task["unix"][0], socket.SOCK_STREAM),
        "datagram": lambda task: unix(task["unix"][1], socket.SOCK_DGRAM),
    },
)


@attempt("wire address", "open")
def new_address(_: Task) -> None:
    """Give lo another address."""
    _interface(_SIOCSIFADDR, struct.pack("16sHH4s8x", b"lo", socket.AF_INET, 0, socket.inet_aton("10.9.8.7")))


@attempt("wire down", "open")
def lo_down(_: Task) -> None:
    """Stop the one interface."""
    _interface(_SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", 0))
    loopback_up()


def loopback_up() -> None:
    """Start the one interface."""
    _interface(_SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", 9))


@attempt("wire new", "open")
def new_interface(_: Task) -> None:
    """Make an interface by netlink (rtnetlink(7)): RTM_NEWLINK, IFLA_LINKINFO, kind dummy, or a veth pair."""
    last = 0
    for kind in (b"dummy", b"veth", b"bridge"):
        nested = struct.pack("HH", 4 + len(kind), 1) + kind + bytes(-len(kind) % 4)
        info = struct.pack("HH", 4 + len(nested), 18) + nested
        body = struct.pack("BxHiII", 0, 0, 0, 0, 0) + info
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
            sock.send(struct.pack("IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
            last = -struct.unpack_from("i", sock.recv(4096), 16)[0]
        if last != errno.EOPNOTSUPP:
            break
    if last:
        raise OSError(last, os.strerror(last))


@attempt("wire route", "open")
def new_route(_: Task) -> None:
    """Have everything go by lo."""
    any4 = struct.pack("HH4s8x", socket.AF_INET, 0, bytes(4))
    device = ctypes.create_string_buffer(b"lo")
    names = ("L16s16s16sHhLPhPLLH", 0, any4, any4, any4, 1, 0, 0, 0, 0, ctypes.addressof(device), 0, 0, 0)
    _interface(_SIOCADDRT, struct.pack(*names))


@attempt("wire tun", "host")
def tun(_: Task) -> None:
    """Open what makes tunnels."""
    os.close(os.open("/dev/net/tun", os.O_RDWR))


def _interface(request: int, argument: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock.fileno(), request, argument)


@attempt("port taken", "open")
def take_port(task: Task) -> bool:
    """Listen where the proxy does, by every way of sharing a port, and get a connection that is meant for it."""
    for host in ("127.0.0.1", "0.0.0.0", "127.0.0.0"):  # noqa: S104  that is the attack
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                sock.setsockopt(socket.SOL_SOCKET, option, 1)
            try:
                sock.bind((host, task["proxy"]))
                sock.listen()
            except OSError:
                continue
            sock.settimeout(1)
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(1)
                client.connect(("127.0.0.1", task["proxy"]))
                try:
                    sock.accept()[0].close()
                except TimeoutError:
                    continue
                return True
    return False

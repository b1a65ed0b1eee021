"""Answers whoever gets through: in a namespace that a test opened, and on the host, where no guest may come."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from ctypes import CDLL, get_errno
from pathlib import Path
from typing import Self, TypeVar

GREETING = b"the host\n"
DNS, DHCP_SERVER, DHCP_CLIENT, MDNS, LLMNR, NAMES, DISCOVERY = 53, 67, 68, 5353, 5355, 137, 1900
GROUPS = ("224.0.0.251", "224.0.0.252", "239.255.255.250")
GROUPS6 = ("ff02::fb",)
_ALL = 3
_OUTGOING = 4
_NEW_NET = 0x40000000
_SO_BINDTODEVICE = 25
_MOST = 20_000
_LARGEST = 1 << 17
_SOL_PACKET, _VNET_HDR = 263, 15
_LIBC = CDLL(None, use_errno=True)
_Result = TypeVar("_Result")


def inside(namespace: Path | None, function: Callable[[], _Result]) -> _Result:
    """Call a function in a network namespace, by a thread that is gone afterwards; without one, here."""
    if namespace is None:
        return function()
    done: list[_Result] = []
    failed: list[BaseException] = []

    def _thd_run() -> None:
        try:
            with namespace.open("rb") as file:
                if _LIBC.setns(file.fileno(), _NEW_NET):
                    raise OSError(get_errno(), str(namespace))  # noqa: TRY301  passed on below, like all others
            done.append(function())
        except BaseException as error:  # noqa: BLE001  raised again by who waits
            failed.append(error)

    thread = threading.Thread(target=_thd_run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def free_port() -> int:
    """Give a port that nobody has."""
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


class _Serving:
    """Is a thread that has descriptors looked after until it is told to end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._waking, self._told = socket.socketpair()
        self._selector.register(self._told, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._thd_serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._waking.close()
        self._thread.join()
        self._told.close()
        self._stack.close()

    def _watch(self, sock: socket.socket, work: Callable[[socket.socket], None]) -> None:
        self._stack.callback(sock.close)
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, work)

    def _thd_serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                with suppress(OSError):  # who has gone away meanwhile
                    key.data(key.fileobj)


class Victim(_Serving):
    """Greets every connection and answers every datagram that comes to one of its ports, whoever it comes from."""

    def __init__(
        self, namespace: Path | None, ports: Sequence[int], datagrams: Sequence[int], *, tap: str | None = None
    ) -> None:
        """Listen at all addresses; with a tap, also to groups, to DHCP, and to marked frames of every kind."""
        super().__init__()
        inside(namespace, lambda: self._listen(ports, datagrams, tap))

    def _listen(self, ports: Sequence[int], datagrams: Sequence[int], tap: str | None) -> None:
        for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
            for port in ports:
                self._watch(_stream(family, address, port), self._accept)
            for port in datagrams:
                self._watch(_datagram(family, address, port, tap), self._answer)
        if tap is not None:
            packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
            packets.bind((tap, _ALL))
            self._watch(packets, self._echo)

    def _accept(self, listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.sendall(GREETING)
        connection.shutdown(socket.SHUT_WR)
        self._watch(connection, self._drain)

    def _drain(self, connection: socket.socket) -> None:
        try:
            over = not connection.recv(1000)
        except OSError:
            over = True
        if over:
            self._selector.unregister(connection)
            connection.close()

    def _answer(self, sock: socket.socket) -> None:
        said, peer = sock.recvfrom(2000)
        port = sock.getsockname()[1]
        if port == DNS:
            # One address for every name: what is asked for is one.
            answer = said[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + said[12:]
            sock.sendto(answer + struct.pack("!HHHIH4B", 0xC00C, 1, 1, 60, 4, 198, 51, 100, 7), peer)
        elif port == DHCP_SERVER and peer[1] == DHCP_CLIENT:
            sock.sendto(b"\2" + said[1:], ("255.255.255.255", DHCP_CLIENT))
        else:
            sock.sendto(GREETING, peer)

    def _echo(self, packets: socket.socket) -> None:
        frame, address = packets.recvfrom(2000)
        if address[2] != _OUTGOING and b"escape " in frame:
            packets.send(frame[6:12] + frame[:6] + frame[12:])


class Capture(_Serving):
    """Keeps the frames that are seen in a namespace and that `wanted` wants, which gets whether the host sent it."""

    def __init__(self, namespace: Path | None, wanted: Callable[[bytes, bool], bool]) -> None:
        """Look at every interface there."""
        super().__init__()
        self.frames: list[bytes] = []
        self._wanted = wanted
        made = inside(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._watch(made, self._see)

    def _see(self, packets: socket.socket) -> None:
        frame, address = packets.recvfrom(2000)
        if self._wanted(frame, address[2] == _OUTGOING) and len(self.frames) < _MOST:
            self.frames.append(frame)


class Cable(_Serving):
    """Is a wire between the taps of two builds, which nothing of Hermit's ever makes."""

    def __init__(self, one: tuple[Path, str], other: tuple[Path, str]) -> None:
        """Join two taps, each in its namespace."""
        super().__init__()
        ends = [inside(place, lambda tap=tap: _packets(tap)) for place, tap in (one, other)]  # type: ignore[misc]  # mypy infers no lambda with a default
        for near, far in (ends, reversed(ends)):
            self._watch(near, lambda packets, far=far: self._carry(packets, far))  # type: ignore[misc]  # as above

    @staticmethod
    def _carry(near: socket.socket, far: socket.socket) -> None:
        frame, address = near.recvfrom(_LARGEST)
        if address[2] != _OUTGOING:
            far.send(frame)


def _packets(tap: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    # A guest leaves sums to its card, which says so in front of each frame.
    made.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
    made.bind((tap, _ALL))
    return made


def _stream(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port))
    made.listen()
    return made


def _datagram(family: socket.AddressFamily, address: str, port: int, tap: str | None) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if tap is not None:
        index = struct.pack("@i", socket.if_nametoindex(tap))
        for group in GROUPS if family == socket.AF_INET else ():
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + bytes(4) + index)
        for group in GROUPS6 if family == socket.AF_INET6 else ():
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(family, group) + index)
        if port == DHCP_SERVER:
            made.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, os.fsencode(tap))
    made.bind((address, port))
    return made

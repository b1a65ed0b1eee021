"""Measures the wire of a VM: MB and connections a second, as a build has them, straight, and by the forwarder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from pathlib import PurePosixPath

import vmplace
import vmturn

from hermit_workers.cell import Command

# As a build sees the proxy, where that is, and what is left where the guest's kernel redirects nothing.
WAYS = {"build": "as a build has it", "straight": "straight to the host's end", "forwarder": "by the forwarder"}
# Where to, and the address to come from, if any: a socket bound to the loopback is not redirected.
_ENDS = {"build": ("127.0.0.1", ""), "straight": ("10.0.2.2", ""), "forwarder": ("127.0.0.1", "127.0.0.1")}
_BYTES, _CONNECTIONS = 256 << 20, 600
_PIECE = 1 << 20
_LINE = 100
# Loads no module, of which the small image has few: numbers of Linux.
_GUEST = """
my $to = pack 'S n C4 x8', 2, 3128, split /\\./, $ARGV[0];
my $own = $ARGV[1] && pack 'S n C4 x8', 2, 0, split /\\./, $ARGV[1];
sub dial { socket my $s, 2, 1, 0; bind $s, $own if $own; connect $s, $to or die "$!\\n"; return $s }
my ($piece, $all) = (1 << 20, $ARGV[2]);
my $down = dial(); syswrite $down, "get\\n"; my ($got, $data) = (0);
while ($got < $all) { $got += sysread($down, $data, $piece) || die "cut: $!\\n" } syswrite $down, "x"; close $down;
my $up = dial(); syswrite $up, "put\\n"; sysread $up, $data, 1; $data = "\\0" x $piece; my $put = 0;
while ($put < $all) { $put += syswrite($up, $data) || die "cut: $!\\n" } sysread $up, $data, 1; close $up;
for (1 .. $ARGV[3]) { my $s = dial(); syswrite $s, "hi\\n"; sysread $s, $data, 10 or die "cut\\n"; close $s }
"""


async def rates(place: vmplace.Place) -> dict[str, dict[str, float]]:
    """Give MB/s (10^6) to the guest and from it, and connections a second, by way."""
    found = {}
    async with vmturn.started(place) as (made, listener):
        for way, ends in _ENDS.items():
            server = _Server(listener)
            serving = asyncio.create_task(server.serve())
            words = ("/usr/bin/perl", "-e", _GUEST, *ends, str(_BYTES), str(_CONNECTIONS))
            ended = await made.run(Command(words, {"PATH": "/usr/bin"}, PurePosixPath("/")), output=2)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            if ended.status:
                raise RuntimeError(f"the guest's client ended with {ended}")
            found[way] = server.rates()
    return found


class _Server:
    """Is at the proxy's end."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._seconds: dict[str, float] = {}
        self._connected: list[float] = []

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection, contextlib.suppress(ConnectionError):
                await self._answer(connection)

    def rates(self) -> dict[str, float]:
        spent = self._connected[-1] - self._connected[0]
        told = {name: _BYTES / 1e6 / seconds for name, seconds in self._seconds.items()}
        return {**told, "connections": (len(self._connected) - 1) / spent}

    async def _answer(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        kind = (await loop.sock_recv(connection, _LINE)).strip()
        begin = time.perf_counter()
        if kind == b"get":
            piece = os.urandom(_PIECE)
            for _ in range(_BYTES // _PIECE):
                await loop.sock_sendall(connection, piece)
            await loop.sock_recv(connection, 1)  # it has all
            self._seconds["to the guest"] = time.perf_counter() - begin
        elif kind == b"put":
            await loop.sock_sendall(connection, b"x")
            left, room = _BYTES, bytearray(_PIECE)
            while left > 0 and (got := await loop.sock_recv_into(connection, room)):
                left -= got
            self._seconds["from the guest"] = time.perf_counter() - begin
            await loop.sock_sendall(connection, b"x")
        else:
            await loop.sock_sendall(connection, b"hi")
            await loop.sock_recv(connection, 1)  # its end
            self._connected.append(time.perf_counter())

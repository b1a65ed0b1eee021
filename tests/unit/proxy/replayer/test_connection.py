"""Tests the limits of time and number with small ones, on a real loop and real sockets in this process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from hermit_proxy.replayer.limits import Limits
from hermit_proxy.run.events import Outcome
from tests.support.replaying import HOST
from tests.support.serving import HEAD, asking, serve

POST = f"POST http://{HOST}/big HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("octets", "limits", "what"),
    [
        (HEAD[:20], Limits(head=0.05, sweep=0.02), b"head"),
        (POST + b"12345", Limits(progress=0.05, sweep=0.02), b"body"),
        (HEAD.replace(b"GET http://", b"CONNECT ", 1)[:15], Limits(head=0.05, sweep=0.02), b"head"),
    ],
)
def test_what_does_not_come_is_not_waited_for(tmp_path: Path, octets: bytes, limits: Limits, what: bytes) -> None:
    answers: list[bytes] = []
    log = serve(tmp_path, limits, asking(octets, answers))
    assert answers[0].startswith(b"HTTP/1.1 408 ")
    assert b"the request's %s did not come" % what in answers[0]
    assert [(line.outcome, line.status) for line in log] == [(Outcome.FAILED, 408)]


def test_a_handshake_that_does_not_go_on_is_ended(tmp_path: Path) -> None:
    answers: list[bytes] = []
    hello = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode() + b"\x16\x03\x01\x02\x00"
    log = serve(tmp_path, Limits(head=0.05, sweep=0.02, linger=0.05), asking(hello, answers))
    assert answers == [b"HTTP/1.1 200 Connection established\r\n\r\n"]
    assert [(line.method, line.url, line.outcome) for line in log] == [
        ("CONNECT", f"https://{HOST}:443", Outcome.FAILED)
    ]


def test_an_idle_connection_makes_room_and_a_busy_one_does_not(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        idle, _idle_writer = await asyncio.open_connection("127.0.0.1", port)
        busy = [await asyncio.open_connection("127.0.0.1", port, limit=4096) for _ in range(2)]
        for _, writer in busy:
            writer.write(POST)
            await writer.drain()
        assert await idle.read() == b""
        while len(busy) < 3:
            # The proxy has read what the busy ones sent by the time it refuses; until then they may count as idle.
            await asyncio.sleep(0.05)
            busy.append(await asyncio.open_connection("127.0.0.1", port))
        assert (await busy[2][0].read()).startswith(b"HTTP/1.1 503 ")
        for _, writer in busy:
            writer.close()

    log = serve(tmp_path, Limits(connections=2, sweep=0.02, linger=0.1), scenario)
    assert 503 in [line.status for line in log]


def test_what_is_under_way_is_ended_when_the_time_for_it_is_over(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, HEAD)
        assert await loop.sock_recv(sock, 10) == b"HTTP/1.1 2"
        keep.append(sock)

    keep: list[socket.socket] = []
    log = serve(tmp_path, Limits(), scenario)
    assert [line.outcome for line in log] == [Outcome.REPLAYED]
    assert "hung up" in (log[0].note or "")
    keep[0].close()

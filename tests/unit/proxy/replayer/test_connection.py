"""Tests the limits of time and number with small ones, on a real loop and real sockets in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hermit_proxy.policy import Mode
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.service import Replayer
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.events import Outcome, RequestEvent, read_log
from hermit_proxy.run.session import Session
from tests.support.replaying import HOST, Project

BIG = bytes(8 << 20)
HEAD = f"GET http://{HOST}/big HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
POST = f"POST http://{HOST}/big HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\n".encode()
_PATIENCE = 20

Scenario = Callable[[int], Awaitable[None]]


def serve(tmp_path: Path, limits: Limits, scenario: Scenario) -> list[RequestEvent]:
    """Serve while a scenario runs with the port; give the log."""
    project = Project(tmp_path / "project")
    project.add(f"http://{HOST}/big", BIG)
    rundir = tmp_path / "run"
    rundir.mkdir()
    project.settings().write(rundir)

    async def main() -> None:
        replayer = Replayer(Session.load(rundir, Mode.HERMETIC), RunCA.create(), limits)
        sock = socket.create_server(("127.0.0.1", 0))
        await replayer.listen(sock)
        try:
            await asyncio.wait_for(scenario(sock.getsockname()[1]), _PATIENCE)
            await replayer.drain(1)
        finally:
            await replayer.close()

    asyncio.run(main())
    return list(read_log(rundir / "requests.jsonl"))


def asking(octets: bytes, answers: list[bytes]) -> Scenario:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets)
        answers.append(await reader.read())
        writer.close()

    return scenario


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


def test_a_client_that_takes_nothing_is_hung_up_on(tmp_path: Path) -> None:
    async def scenario(port: int) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, HEAD)
        while not list(read_log(tmp_path / "run/requests.jsonl")):  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0.02)
        sock.close()

    log = serve(tmp_path, Limits(write=0.1, sweep=0.02), scenario)
    assert [line.outcome for line in log] == [Outcome.REPLAYED]
    assert log[0].size < len(BIG)
    assert "hung up" in (log[0].note or "")


def test_a_slow_reader_is_served_as_long_as_it_reads(tmp_path: Path) -> None:
    got = bytearray()

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(HEAD)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        while len(got) < len(BIG):
            got.extend(await reader.read(1 << 20))
            await asyncio.sleep(0.001)
        writer.close()

    log = serve(tmp_path, Limits(write=5, sweep=0.02), scenario)
    assert bytes(got) == BIG
    assert (log[0].size, log[0].note) == (len(BIG), None)


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

"""Tests how answers go out to clients that read slowly or not at all, on a real loop and real sockets."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from hermit_proxy.replayer.limits import Limits
from hermit_proxy.run.events import Outcome, read_log
from tests.support.serving import BIG, HEAD, asking, serve


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


def test_a_client_that_stops_sending_gets_what_it_asked_for_and_an_end(tmp_path: Path) -> None:
    answers: list[bytes] = []
    log = serve(
        tmp_path, Limits(sweep=0.02), asking(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), answers)
    )
    head, _, body = answers[0].partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert body == BIG
    assert [(line.outcome, line.size) for line in log] == [(Outcome.REPLAYED, len(BIG))]


def test_a_client_that_is_refused_may_go_on_sending_and_then_reads_why(tmp_path: Path) -> None:
    answers: list[bytes] = []

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET nowhere HTTP/1.1\r\n\r\n")
        while not list(read_log(tmp_path / "run/requests.jsonl")):  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0.01)
        for _ in range(5):
            writer.write(bytes(50_000))
            await writer.drain()
            await asyncio.sleep(0.01)
        answers.append(await reader.read())
        writer.close()

    log = serve(tmp_path, Limits(sweep=0.02), scenario)
    assert answers[0].startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answers[0].partition(b"\r\n\r\n")[0]
    assert [(line.outcome, line.status) for line in log] == [(Outcome.REFUSED, 400)]

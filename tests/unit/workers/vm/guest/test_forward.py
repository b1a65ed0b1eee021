"""Carries connections with the guest's real forwarder, between sockets of this machine's loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.workers.vm.guests import GUEST

pytestmark = pytest.mark.skipif(shutil.which("perl") is None, reason="the forwarder is Perl")
MUCH = os.urandom(1 << 20) * 5


@contextmanager
def forwarder(tmp_path: Path, port: int) -> Iterator[tuple[str, int]]:
    """Have one that carries to a port of the loopback; it removes its own script, so it gets a copy."""
    script = tmp_path / "guest" / "forward.pl"
    script.parent.mkdir()
    shutil.copy(GUEST / "forward.pl", script)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = subprocess.Popen(["perl", str(script), "127.0.0.1", str(port)], stdin=listening.fileno())
        try:
            yield listening.getsockname()
        finally:
            running.kill()
            running.wait()
    assert not script.parent.exists()


@contextmanager
def echoing(*, closes_first: bool = False) -> Iterator[int]:
    """Have a server that gives everything back, and closes when it has, or first of all."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=_echo, args=(connection,), kwargs={"quits": closes_first}, daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _echo(connection: socket.socket, *, quits: bool) -> None:
    with connection:
        if quits:
            connection.sendall(b"bye")
            return
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """Send everything, end that way, and give what comes until the other way ends."""
    with socket.create_connection(address, timeout=60) as connection:
        sending = threading.Thread(target=_send, args=(connection, data), daemon=True)
        sending.start()
        got = bytearray()
        while piece := connection.recv(1 << 16):
            got += piece
        sending.join()
        return bytes(got)


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def test_both_ways_are_carried_whole_and_end_one_by_one(tmp_path: Path) -> None:
    with echoing() as port, forwarder(tmp_path, port) as address:
        for data in (b"", b"x", MUCH):
            assert exchange(address, data) == data


def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    found: dict[int, bytes] = {}
    with echoing() as port, forwarder(tmp_path, port) as address:

        def ask(number: int) -> None:
            found[number] = exchange(address, b"%d" % number * 30_000)

        asking = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(30)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
    assert found == {number: b"%d" % number * 30_000 for number in range(30)}


def test_an_end_that_comes_from_the_proxy_gets_through(tmp_path: Path) -> None:
    with echoing(closes_first=True) as port, forwarder(tmp_path, port) as address:
        assert exchange(address, b"") == b"bye"


def test_where_nobody_listens_the_connection_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with forwarder(tmp_path, port) as address:
        for _ in range(3):
            with socket.create_connection(address, timeout=60) as connection:
                try:
                    assert connection.recv(10) == b""
                except ConnectionResetError:
                    continue


def test_connections_that_have_ended_leave_nothing_open(tmp_path: Path) -> None:
    with echoing() as port, forwarder(tmp_path, port) as address:
        assert exchange(address, b"x") == b"x"  # it has begun
        (process,) = [one for one in _children() if b"forward.pl" in (one / "cmdline").read_bytes()]
        for _ in range(20):
            assert exchange(address, b"x") == b"x"
        end = time.monotonic() + 10
        while len(os.listdir(process / "fd")) > 5 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(os.listdir(process / "fd")) <= 5


def _children() -> list[Path]:
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [Path("/proc", number) for number in found]

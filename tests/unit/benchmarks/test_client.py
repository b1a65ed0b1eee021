"""The lean client counts what it asks, waits and resumes, and takes nothing but whole answers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import contenders
import origin
import pytest
from client import Client, build

SIZES = (0, 1, 900, 70_000, 400_000)
SLOW = 0.05


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("client"))
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[origin.Origin]:
    if shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        pytest.skip("nginx is not installed")
    with origin.nginx(tmp_path / "nginx") as running:
        for size in SIZES:
            (running.files / str(size)).write_bytes(bytes(size))
        yield running


@pytest.fixture
def asks(program: Path, served: origin.Origin, tmp_path: Path) -> Client:
    return Client(program, served.url, paths(tmp_path, *map(str, SIZES)))


def paths(folder: Path, *names: str) -> Path:
    file = folder / "paths.txt"
    file.write_text("".join(f"/{name}\n" for name in names))
    return file


def direct(served: origin.Origin) -> contenders.Contender:
    return contenders.Contender("nginx", None, served.certificate, served.process)


@pytest.mark.parametrize(("connections", "requests"), [(1, 1), (4, 20), (7, 3)])
def test_each_path_is_asked_for_in_turn_and_every_byte_is_counted(
    asks: Client, served: origin.Origin, connections: int, requests: int
) -> None:
    answers = asks.closed(direct(served), connections=connections, requests=requests)
    assert answers.requests == requests
    assert answers.size == sum(SIZES[number % len(SIZES)] for number in range(requests))
    assert 0 < answers.p50 <= answers.p99 <= answers.worst <= answers.seconds


def test_a_rate_offers_the_same_requests_in_each_run(asks: Client, served: origin.Origin) -> None:
    runs = [asks.offered(direct(served), connections=3, seconds=0.5, rate=200).requests for _ in range(2)]
    assert runs[0] == runs[1]
    assert 60 < runs[0] < 140


@pytest.mark.parametrize(("resume", "resumed"), [(True, 5), (False, 0)])
def test_a_session_is_resumed_only_where_that_is_asked_for(
    asks: Client, served: origin.Origin, resume: bool, resumed: int
) -> None:
    answers = asks.fresh(direct(served), resume=resume, requests=6)
    assert (answers.requests, answers.resumed) == (6, resumed)


@contextlib.contextmanager
def server(folder: Path, serve: Callable[[ssl.SSLSocket], object]) -> Iterator[contenders.Contender]:
    """Serve one TLS connection with a function of the test's."""
    certificate, key = origin.certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def _accept() -> None:
            with contextlib.suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as one:
                serve(one)

        thread = threading.Thread(target=_accept)
        thread.start()
        yield contenders.Contender(f"https://127.0.0.1:{listener.getsockname()[1]}", None, certificate, 0)
        thread.join()


def test_a_latency_counts_from_when_a_request_was_due_not_from_when_it_could_be_sent(
    program: Path, tmp_path: Path
) -> None:
    def slowly(one: ssl.SSLSocket) -> None:
        while one.recv(4096):
            time.sleep(SLOW)
            one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with server(tmp_path, slowly) as slow:
        asks = Client(program, slow.name, paths(tmp_path, "x"))
        answers = asks.offered(slow, connections=1, seconds=0.2, rate=100)
    # The last one was due after 0.2 s at the latest, and all those before it took their time.
    assert answers.worst >= answers.requests * SLOW - 0.2
    assert answers.requests > 10


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "200 OK"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!", "hung up"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nfive!", "more than an answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 9000, "a head without end"),
    ],
)
def test_what_is_no_whole_answer_ends_the_measurement(program: Path, tmp_path: Path, answer: bytes, said: str) -> None:
    def once(one: ssl.SSLSocket) -> None:
        one.recv(4096)
        one.sendall(answer)

    with server(tmp_path, once) as broken:
        asks = Client(program, broken.name, paths(tmp_path, "x"))
        with pytest.raises(RuntimeError, match=said):
            asks.closed(broken, connections=1, requests=1)


def test_a_head_in_pieces_is_one_head(program: Path, tmp_path: Path) -> None:
    def piecemeal(one: ssl.SSLSocket) -> None:
        one.recv(4096)
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc":
            one.sendall(bytes([byte]))
        one.recv(1)

    with server(tmp_path, piecemeal) as slow:
        answers = Client(program, slow.name, paths(tmp_path, "x")).closed(slow, connections=1, requests=1)
    assert answers.size == 3


def test_a_certificate_that_is_not_vouched_for_ends_the_measurement(asks: Client, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = contenders.Contender("nginx", None, origin.certificate(tmp_path / "other")[0], 0)
    with pytest.raises(RuntimeError, match="certificate verify failed"):
        asks.closed(stranger, connections=1, requests=1)

"""Clients and servers that lie, stall and break off: nothing is forwarded undecided, half recorded, or logged twice."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mitmproxy import http, tls

from hermit_proxy.recorder.budget import Budget
from hermit_proxy.run.events import Outcome
from hermit_proxy.upstream import guard
from tests.support.origin import Asked, Origin, Response, text
from tests.support.recording import Client, Recording, recording
from tests.support.testca import TestCA, make_ca

ALLOW = '- {pattern: ".*/.*", action: ALLOW}\n- {pattern: "127.0.0.1:.*/.*", action: ALLOW}\n'
HOOKS = (
    "next_layer",
    "requestheaders",
    "request",
    "responseheaders",
    "response",
    "tls_start_client",
    "tls_start_server",
)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def origin(ca: TestCA) -> Iterator[Origin]:
    with Origin(ca) as running:
        running.route("/file", b"x" * 1000)
        yield running


class Exploding:
    """Raises in one hook; its name keeps mitmproxy from taking two for one."""

    def __init__(self, hook: str) -> None:
        def explode(*_: object) -> None:
            raise ZeroDivisionError

        setattr(self, hook, explode)


@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_in_an_addon_refuses_the_request(tmp_path: Path, origin: Origin, ca: TestCA, hook: str) -> None:
    with recording(tmp_path, ALLOW, trust=ca.ca, addons=(Exploding(hook),)) as run:
        try:
            got = run.get(origin.url("127.0.0.1", "/file"))
        except OSError:
            got = None
        assert got is None or got.status == 502 or not got.whole or hook == "response"
        assert all(event.outcome is not Outcome.REPLAYED for event in run.events)
        if hook in {"requestheaders", "request", "tls_start_server", "next_layer", "tls_start_client"}:
            assert origin.asked == []
        if hook in {"requestheaders", "request", "responseheaders", "tls_start_server"}:
            assert [event.outcome for event in run.events] == [Outcome.FAILED]


def test_without_an_exception_the_same_request_passes(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        assert run.get(origin.url("127.0.0.1", "/file")).status == 200


class Meddling:
    """Points requests elsewhere behind the decision's back."""

    def __init__(self, port: int) -> None:
        self._port = port

    def request(self, flow: http.HTTPFlow) -> None:
        flow.request.data.port = self._port


def test_a_request_goes_nowhere_but_where_it_was_decided_to_go(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    with Origin(ca) as other, recording(tmp_path, ALLOW, trust=ca.ca, addons=(Meddling(other.port),)) as run:
        assert run.get(origin.url("127.0.0.1", "/file")).status == 502
        assert run.last.outcome is Outcome.FAILED
        assert other.asked == origin.asked == []


HEADS = {
    "both framings": (
        "POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "two lengths": "POST {url} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "two hosts": "GET {url} HTTP/1.1\r\nHost: {host}\r\nHost: example.org\r\n\r\n",
    "other host": "GET {url} HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "no host": "GET {url} HTTP/1.1\r\n\r\n",
    "origin form": "GET /file HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "folded": "GET {url} HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n",
    "bare line feeds": "GET {url} HTTP/1.1\nHost: {host}\n\n",
    "nul": "GET {url} HTTP/1.1\r\nHost: {host}\r\nX: a\0\r\n\r\n",
    "websocket": "GET {url} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "http2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": "\x16\x03\x01\x00\x05hello",
    "garbage": "\x80\x81\x82",
    "huge": "GET {url} HTTP/1.1\r\nHost: {host}\r\nX: " + "a" * 70_000 + "\r\n\r\n",
    "many": "GET {url} HTTP/1.1\r\nHost: {host}\r\n" + "X: a\r\n" * 101 + "\r\n",
    "user info": "GET http://a:b@{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "chunk of nonsense": "POST {url} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "endless chunk line": "POST {url} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n1;" + "a" * 40_000,
    "trailers": "POST {url} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_a_doubtful_request_is_answered_logged_once_and_not_forwarded(tmp_path: Path, head: str) -> None:
    with Origin() as plain, recording(tmp_path, ALLOW) as run:
        plain.route("/file", b"x")
        host = f"127.0.0.1:{plain.port}"
        with run.client() as client:
            client.send(head.format(url=f"http://{host}/file", host=host).encode("latin-1"))
            assert 400 <= client.receive().status < 500
            assert client.closed()
        assert [event.outcome for event in run.events] == [Outcome.REFUSED]
        assert plain.asked == []


def test_a_request_smuggled_behind_a_length_is_a_request_of_its_own(tmp_path: Path) -> None:
    rules = '- {pattern: "127.0.0.1:.*/good", action: ALLOW, method: POST}\n'
    with Origin() as plain, recording(tmp_path, rules) as run:
        plain.route("/good", b"x")
        host = f"127.0.0.1:{plain.port}"
        inner = f"GET http://{host}/bad HTTP/1.1\r\nHost: {host}\r\n\r\n"
        with run.client() as client:
            head = f"POST http://{host}/good HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
            client.send(f"{head}{inner}".encode())
            assert [client.receive("POST").status, client.receive().status] == [200, 403]
        assert [asked.path for asked in plain.asked] == ["/good"]


@pytest.mark.parametrize("sni", ["localhost", "example.org"])
def test_a_tunnel_whose_sni_names_another_host_answers_with_the_reason(
    tmp_path: Path, origin: Origin, ca: TestCA, sni: str
) -> None:
    with recording(tmp_path, ALLOW, trust=ca.ca) as run, run.client() as client:
        client.tunnel(f"127.0.0.1:{origin.port}", sni=sni)
        client.send(f"GET /file HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode())
        got = client.receive()
        assert got.status == 403
        assert b"SNI" in got.body
        assert [event.outcome for event in run.events] == [Outcome.REFUSED]
        assert origin.asked == []


@pytest.mark.parametrize(
    "authority",
    [
        "127.0.0.1",
        "127.0.0.1:0",
        "0x7f.1:443",
        "2130706433:443",
        "127.1:443",
        "a\0b:443",
        "a/b:443",
        "[::1%lo]:1",
        "..:1",
    ],
)
def test_connect_to_what_is_no_host_is_refused(tmp_path: Path, authority: str) -> None:
    with recording(tmp_path, ALLOW) as run, run.client() as client:
        assert client.tunnel(authority, tls=False).status == 400
        assert run.last.outcome is Outcome.REFUSED


class WatchedBudget(Budget):
    """Tells other threads when somebody takes, waits or gives back."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.taken, self.queued, self.given = (threading.Semaphore(0) for _ in range(3))

    async def take(self, holder: str, size: int) -> None:
        if not self.has(holder, size):
            self.queued.release()
        before = self.free
        await super().take(holder, size)
        if self.free < before:
            self.taken.release()

    def keep(self, holder: str, size: int) -> None:
        before = self.free
        super().keep(holder, size)
        if self.free > before:
            self.given.release()


class NotingTls:
    """Learns of a failed handshake after the addon that logs it."""

    def __init__(self) -> None:
        self.failed = threading.Event()

    def tls_failed_client(self, _data: tls.TlsData) -> None:
        self.failed.set()


def test_a_client_that_does_not_trust_the_ca_is_told_of_in_the_log(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    noted = NotingTls()
    with recording(tmp_path, ALLOW, trust=ca.ca, addons=(noted,)) as run:
        run.trust.write_bytes(ca.ca.read_bytes())
        with pytest.raises(OSError, match="certificate"):
            run.get(origin.url("127.0.0.1", "/file"))
        assert noted.failed.wait(20)
        assert [event.outcome for event in run.events] == [Outcome.FAILED]
        assert "CA" in (run.last.hint or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_hosts_own_loopback_is_refused_and_nothing_connects(tmp_path: Path, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        with recording(tmp_path, f'- {{pattern: "{host}:{port}/.*", action: ALLOW}}\n', allow=()) as run:
            got = run.get(f"http://{host}:{port}/")
            assert (got.status, got.headers["x-hermit"]) == (403, "refused")
            assert "upstream.allow" in (run.last.hint or "")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_name_that_changes_its_address_is_judged_at_every_connection(tmp_path: Path, ca: TestCA) -> None:
    answers = ["127.0.0.1", "169.254.169.254"]
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> list[guard.Address]:
        asked.append(host)
        return [ipaddress.ip_address(answers[len(asked) - 1])]

    with Origin(ca) as origin:
        origin.route("/one", text("1", connection="close"))
        rules, allow = f'- {{pattern: "a.example.org:{origin.port}/.*", action: ALLOW}}\n', ("a.example.org",)
        with recording(tmp_path, rules, trust=ca.ca, allow=allow, resolver=rebinding) as run:
            assert run.get(origin.url("a.example.org", "/one")).status == 200
            assert run.get(origin.url("a.example.org", "/two")).status == 403
            assert "169.254.169.254" in (run.last.reason or "")
    assert asked == ["a.example.org"] * 2


def test_a_server_with_the_wrong_name_or_authority_is_not_believed(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    async def loopback(_host: str, _port: int) -> list[guard.Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    rules = f'- {{pattern: ".*.test:{origin.port}/.*", action: ALLOW}}\n{ALLOW}'
    for name, trust, host in (("name", ca.ca, "other.test"), ("authority", make_ca(tmp_path / "x").ca, "127.0.0.1")):
        (tmp_path / name).mkdir()
        with recording(tmp_path / name, rules, trust=trust, allow=(host,), resolver=loopback) as run:
            assert run.get(origin.url(host, "/file")).status == 502
            assert "certificate verify failed" in (run.last.reason or "")
            assert [event.outcome for event in run.events] == [Outcome.FAILED]
    assert origin.asked == []


OK = b"HTTP/1.1 200 OK\r\n"
LIES = {
    "less than announced": OK + b"Content-Length: 100\r\n\r\nshort",
    "chunks that break off": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "both framings": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "no number": OK + b"Content-Length: five\r\n\r\nhello",
    "unknown coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "garbage": b"\x00\x01\x02 what\r\n\r\n",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "nothing": b"",
    "interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "folded header": OK + b"X: a\r\n b\r\nContent-Length: 1\r\n\r\nx",
    "carriage return": OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 1\r\n\r\nx",
    "endless head": OK + b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 80_000,
    "endless chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 2_500_000,
    "trailers that are none": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nno colon\r\n\r\n",
    "endless trailers": OK
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    + b"X: aaaaaaaaaaaaaaaaaaaa\r\n" * 120_000,
}


@pytest.mark.parametrize("raw", LIES.values(), ids=LIES.keys())
def test_a_server_that_lies_is_not_recorded(tmp_path: Path, origin: Origin, ca: TestCA, raw: bytes) -> None:
    origin.route("/lie", Response(raw=raw))
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        try:
            got = run.get(origin.url("127.0.0.1", "/lie"))
        except OSError:
            got = None
        assert got is None or got.status == 502 or not got.whole
        assert [(event.outcome, event.entry) for event in run.events] == [(Outcome.FAILED, None)]
        assert list(run.session.store.bodies()) == []
        assert run.get(origin.url("127.0.0.1", "/file")).status == 200


def test_the_trailers_of_an_answer_are_dropped_and_the_answer_ends_well(
    tmp_path: Path, origin: Origin, ca: TestCA
) -> None:
    head = b"Content-Type: text/plain\r\nTrailer: X-Digest\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.route("/trailers", Response(raw=OK + head + b"5\r\nwhole\r\n0\r\nX-Digest: y\r\n\r\n"))
    with recording(tmp_path, ALLOW, trust=ca.ca) as run, run.client() as client:
        client.tunnel(f"127.0.0.1:{origin.port}")
        for _ in range(2):  # The second is the replay, on the same connection.
            client.send(f"GET /trailers HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode())
            got = client.receive()
            assert (got.status, got.body, got.whole) == (200, b"whole", True)
            assert not {"trailer", "x-digest"} & set(got.headers)
        assert [event.outcome for event in run.events] == [Outcome.RECORDED, Outcome.REPLAYED]


@pytest.mark.parametrize(
    ("head", "goodbye", "outcome"),
    [
        (b"", False, Outcome.FAILED),
        (b"", True, Outcome.RECORDED),
        (b"Content-Length: 4\r\n", False, Outcome.RECORDED),
    ],
    ids=["cut off by whoever is in between", "ended by close_notify", "whole by its length"],
)
def test_a_body_over_tls_that_only_the_connection_ends_needs_the_servers_own_end(
    tmp_path: Path, ca: TestCA, head: bytes, goodbye: bool, outcome: Outcome
) -> None:
    def serve(server: socket.socket) -> None:
        with ca.server_context("http/1.1").wrap_socket(server.accept()[0], server_side=True) as connection:
            connection.recv(4096)
            connection.sendall(OK + head + b"\r\nhalf")
            if goodbye:
                with suppress(OSError):  # The proxy hangs up without a word of its own.
                    connection.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as server, recording(tmp_path, ALLOW, trust=ca.ca) as run:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        got = run.get(f"https://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
        assert got.whole == (outcome is Outcome.RECORDED)
        assert [event.outcome for event in run.events] == [outcome]
        assert len(list(run.session.store.bodies())) == (outcome is Outcome.RECORDED)


def test_a_body_without_a_length_reaches_the_client_in_chunks_and_is_recorded(tmp_path: Path) -> None:
    with Origin() as plain, recording(tmp_path, ALLOW) as run:
        plain.route("/old", Response(raw=b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end"))
        got = run.get(plain.url("127.0.0.1", "/old"))
        assert (got.body, got.headers.get("transfer-encoding")) == (b"until the end", "chunked")
        assert run.last.outcome is Outcome.RECORDED


def test_a_body_without_a_length_that_ends_by_a_reset_is_not_recorded(tmp_path: Path) -> None:
    arrived = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"half")
        arrived.wait(20)  # A reset overtakes what was not read yet.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server, recording(tmp_path, ALLOW) as run:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with run.client() as client:
            client.send(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            got = b""
            while b"half" not in got and (piece := client.sock.recv(4096)):
                got += piece
            arrived.set()
            while piece := client.sock.recv(4096):
                got += piece
        thread.join()
        assert got.endswith(b"4\r\nhalf\r\n")
        assert [(event.outcome, event.entry) for event in run.events] == [(Outcome.FAILED, None)]


def test_an_endless_body_ends_at_max_size(tmp_path: Path, origin: Origin, ca: TestCA) -> None:
    sent: list[int] = []

    def endless(_asked: Asked) -> Response:
        def chunks() -> Iterator[bytes]:
            for _ in range(4096):
                sent.append(1)
                yield b"x" * 65536

        return Response(chunks=chunks())

    origin.route("/endless", endless)
    rules = '- {pattern: "127.0.0.1:.*/.*", action: ALLOW, max_size: 1000000}\n'
    with recording(tmp_path, rules, trust=ca.ca) as run:
        got = run.get(origin.url("127.0.0.1", "/endless"))
        assert not got.whole
        assert len(got.body) <= 1_000_000
        assert run.last.outcome is Outcome.REFUSED
        assert list(run.session.store.bodies()) == []
    assert len(sent) < 4096


def test_a_client_that_leaves_in_the_middle_is_logged_once_and_nothing_is_half_recorded(
    tmp_path: Path, origin: Origin, ca: TestCA
) -> None:
    go = threading.Event()

    def slowly(_asked: Asked) -> Response:
        def chunks() -> Iterator[bytes]:
            yield b"x" * 100_000
            go.wait(20)
            yield b"y" * 100_000

        return Response(chunks=chunks())

    origin.route("/slow", slowly)
    with recording(tmp_path, ALLOW, trust=ca.ca) as run:
        with run.client() as client:
            client.tunnel(f"127.0.0.1:{origin.port}")
            client.send(f"GET /slow HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode())
            client.sock.recv(100)
        run.settle()
        go.set()
        assert [(event.outcome, event.entry) for event in run.events] == [(Outcome.FAILED, None)]
        assert "went away" in (run.last.reason or "")
        assert list(run.session.store.bodies()) == []


async def _full(run: Recording, full: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `full` set when a connection is about to wait for its client to read."""
    (connection,) = run.recorder._shared.connections.values()
    drain = connection.drain_writers

    async def telling() -> None:
        writer = connection._corks[connection.client]._writer
        if writer.transport.get_write_buffer_size() > writer.transport.get_write_buffer_limits()[1]:
            full.set()
        await drain()

    monkeypatch.setattr(connection, "drain_writers", telling)


def test_a_client_that_does_not_read_stops_the_reading_from_upstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, full = 512 << 20, threading.Event()
    with Origin() as plain, recording(tmp_path, ALLOW) as run:
        plain.route("/hello", text("hello"))
        plain.route("/big", lambda _asked: Response(chunks=(b"x" * (1 << 20) for _ in range(size >> 20))))
        host = f"127.0.0.1:{plain.port}"
        with run.client() as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.send(f"GET http://{host}/hello HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert client.receive().body == b"hello"
            run.run(_full(run, full, monkeypatch))
            client.send(f"GET http://{host}/big HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert full.wait(20)
            # While others come and go the server could send all of it, if anybody took it.
            for number in range(100):
                assert run.get(f"http://{host}/hello?{number}").body == b"hello"
            (waiting,) = (one for one in run.recorder._exchanges.open_exchanges() if one.url.endswith("/big"))
            assert 0 < waiting.received < 32 << 20
        assert [event.outcome for event in run.events if event.url.endswith("/big")] == [Outcome.FAILED]


def _sent_before_the_end(sock: socket.socket, size: int) -> int:
    sent = 0
    with suppress(OSError):
        while sent < size:
            sent += sock.send(b"x" * 65536)
    return sent


def test_a_request_body_over_the_limit_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    with Origin() as plain, recording(tmp_path, ALLOW) as run, run.client() as client:
        host = f"127.0.0.1:{plain.port}"
        client.send(f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2000000000\r\n\r\n".encode())
        assert _sent_before_the_end(client.sock, 2_000_000_000) < 128 << 20
        assert [(event.outcome, event.status) for event in run.events] == [(Outcome.REFUSED, 413)]
        assert plain.asked == []


def test_internal_host_is_not_asked_through_a_tunnel(tmp_path: Path) -> None:
    with recording(tmp_path, ALLOW) as run, run.client() as client:
        assert client.tunnel("hermit.internal:443", tls=False).status == 403
        assert run.last.outcome is Outcome.REFUSED


def _post(run: Recording, host: str, size: int) -> Client:
    """Announce a body, and come back when the recorder is ready for it."""
    client = run.client()
    head = f"POST http://{host}/take?{size} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n"
    client.send(f"{head}Expect: 100-continue\r\n\r\n".encode())
    while client._file.readline() != b"\r\n":
        pass
    return client


@pytest.mark.parametrize(
    ("framing", "body", "status"),
    [("Content-Length: 99999999999", b"", 413), ("Transfer-Encoding: chunked", b"zz\r\n", 400)],
)
def test_a_client_that_waited_to_send_its_body_hears_why_it_is_not_taken(
    tmp_path: Path, framing: str, body: bytes, status: int
) -> None:
    with recording(tmp_path, ALLOW) as run, run.client() as client:
        head = f"POST http://example.org/a HTTP/1.1\r\nHost: example.org\r\n{framing}\r\nExpect: 100-continue\r\n\r\n"
        client.send(head.encode() + body)
        assert client._file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client._file.readline() == b"\r\n"
        assert client.receive("POST").status == status


def test_bodies_of_parallel_requests_share_a_budget_and_those_beyond_it_wait(tmp_path: Path) -> None:
    size = 3 << 20
    with Origin() as plain, recording(tmp_path, ALLOW) as run:
        plain.route("/take", lambda asked: text(str(len(asked.body))))
        host = f"127.0.0.1:{plain.port}"
        budget = run.recorder._budget = WatchedBudget(5 << 20)
        with _post(run, host, size) as first:
            first.send(b"x" * 100_000)
            assert budget.taken.acquire(timeout=20)
            with _post(run, host, size + 1) as second:
                second.send(b"x")
                assert budget.queued.acquire(timeout=20)
                assert budget.free == (5 << 20) - size
                first.send(b"x" * (size - 100_000))
                assert first.receive("POST").body == str(size).encode()
                second.send(b"x" * size)
                assert second.receive("POST").body == str(size + 1).encode()
        run.settle()
        notes = {event.url.partition("?")[2]: event.note or "" for event in run.events}
        assert "waited" in notes[str(size + 1)]
        assert "waited" not in notes[str(size)]
        assert {event.outcome for event in run.events} == {Outcome.RECORDED}
    assert budget.free == 5 << 20


def test_a_client_that_goes_away_gives_its_share_of_the_budget_back(tmp_path: Path) -> None:
    with Origin() as plain, recording(tmp_path, ALLOW) as run:
        budget = run.recorder._budget = WatchedBudget(5 << 20)
        with _post(run, f"127.0.0.1:{plain.port}", 3 << 20) as client:
            client.send(b"x" * 100_000)
            assert budget.taken.acquire(timeout=20)
            assert budget.free == 2 << 20
        assert budget.given.acquire(timeout=20)
        assert budget.free == 5 << 20
        assert [event.outcome for event in run.events] == [Outcome.FAILED]


@pytest.mark.parametrize("host", ["hermit.internal:81", "hermit.internal:443"])
def test_only_uploads_that_are_taken_may_be_larger_than_other_bodies(tmp_path: Path, host: str) -> None:
    with recording(tmp_path, ALLOW) as run, run.client() as client:
        head = (
            f"PUT http://{host}/upload/sha256/{'0' * 64} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 200000000\r\n\r\n"
        )
        client.send(head.encode())
        assert client.receive("PUT").status in {403, 413}
        assert [event.outcome for event in run.events] == [Outcome.REFUSED]

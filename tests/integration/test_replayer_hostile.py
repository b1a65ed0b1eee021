"""Shows that hostile clients get a clean refusal, stand in the log, and do not end the replayer or fill its memory."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hermit_proxy.run.events import Outcome
from tests.support.replaying import HOST, OPEN_RULES, Project, Replaying, ask, read_all, read_answer

BODY = b"good" * 25_000
LARGE = bytes(4 << 20)
GOOD = f"GET http://{HOST}/good HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
REJECT = 'rules:\n  - {pattern: "audit.example.org/.*", action: REJECT}\n'


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaying]:
    project = Project(tmp_path_factory.mktemp("hostile") / "project", rules=REJECT + OPEN_RULES.partition("\n")[2])
    for scheme in ("http", "https"):
        project.add(f"{scheme}://{HOST}/good", BODY)
        project.add(f"{scheme}://{HOST}/secret", b"another file")
        project.add(f"{scheme}://{HOST}/large", LARGE)
    with Replaying(project) as running:
        yield running


@pytest.fixture(autouse=True)
def _lives_on(replaying: Replaying) -> Iterator[None]:
    """Ask for a good body after each attack: the positive control, and the proof of life."""
    yield
    with replaying.connect() as sock:
        assert ask(sock, f"http://{HOST}/good").body == BODY
    assert replaying.get("/good").body == BODY


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


_HOST = f"Host: {HOST}"
_GET = f"GET http://{HOST}/good HTTP/1.1"
_POST = f"POST http://{HOST}/good HTTP/1.1"
_INSIDE = head("GET /secret HTTP/1.1", _HOST)

_CHUNKED = "Transfer-Encoding: chunked"
_INTERNAL = "Host: hermit.internal"

REFUSED: dict[str, tuple[bytes, int]] = {
    "both length and chunks": (head(_POST, _HOST, "Content-Length: 5", _CHUNKED) + b"0\r\n\r\n" + _INSIDE, 400),
    "chunks and then length": (head(_POST, _HOST, _CHUNKED, "Content-Length: 5") + b"0\r\n\r\n" + _INSIDE, 400),
    "two lengths": (head(_POST, _HOST, "Content-Length: 5", "Content-Length: 6") + b"12345" + _INSIDE, 400),
    "two equal lengths": (head(_POST, _HOST, "Content-Length: 5", "Content-Length: 5") + b"12345", 400),
    "a list of lengths": (head(_POST, _HOST, "Content-Length: 5, 5") + b"12345", 400),
    "a signed length": (head(_POST, _HOST, "Content-Length: +5") + b"12345", 400),
    "a negative length": (head(_POST, _HOST, "Content-Length: -1"), 400),
    "a length in hex": (head(_POST, _HOST, "Content-Length: 0x5") + b"12345", 400),
    "a length out of range": (head(_POST, _HOST, "Content-Length: 99999999999999999999"), 400),
    "a length over the limit": (head(_POST, _HOST, "Content-Length: 99999999999"), 413),
    "a coding that hides chunks": (head(_POST, _HOST, "Transfer-Encoding: xchunked") + b"0\r\n\r\n", 400),
    "two codings": (head(_POST, _HOST, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 400),
    "chunks twice": (head(_POST, _HOST, _CHUNKED, _CHUNKED) + b"0\r\n\r\n", 400),
    "chunks in HTTP/1.0": (head(f"POST http://{HOST}/good HTTP/1.0", _HOST, _CHUNKED) + b"0\r\n\r\n", 400),
    "a space before the colon": (head(_GET, _HOST, "Content-Length : 5") + b"12345", 400),
    "a folded header": (head(_GET, _HOST, "X: a", " b"), 400),
    "a bare LF in the head": (f"{_GET}\nHost: {HOST}\n\n".encode(), 400),
    "a bare CR in a value": (head(_GET, _HOST, "X: a\rTransfer-Encoding: chunked"), 400),
    "a NUL in a value": (head(_GET, _HOST, "X: a\0b"), 400),
    "a control character in a name": (head(_GET, _HOST, "X\x01: a"), 400),
    "no Host": (head(_GET), 400),
    "two Hosts": (head(_GET, _HOST, _HOST), 400),
    "a Host that disagrees": (head(_GET, "Host: other.example.org"), 400),
    "origin-form without a tunnel": (head("GET /good HTTP/1.1", _HOST), 400),
    "https in absolute-form": (head(f"GET https://{HOST}/good HTTP/1.1", _HOST), 400),
    "another scheme": (head(f"GET ftp://{HOST}/good HTTP/1.1", _HOST), 400),
    "a file URL": (head("GET file:///etc/passwd HTTP/1.1", _HOST), 400),
    "a user in the URL": (head(f"GET http://me@{HOST}/good HTTP/1.1", _HOST), 400),
    "asterisk-form": (head("OPTIONS * HTTP/1.1", _HOST), 400),
    "two spaces": (head(f"GET  http://{HOST}/good HTTP/1.1", _HOST), 400),
    "a tab for a space": (head(f"GET\thttp://{HOST}/good HTTP/1.1", _HOST), 400),
    "HTTP/0.9": (f"GET http://{HOST}/good\r\n\r\n".encode(), 400),
    "HTTP/2.0": (head(f"GET http://{HOST}/good HTTP/2.0", _HOST), 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an empty line first": (b"\r\n" + GOOD, 400),
    "TLS without CONNECT": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "binary": (bytes(range(256)), 400),
    "a fragment": (head(f"GET http://{HOST}/good#x HTTP/1.1", _HOST), 400),
    "a raw backslash": (head(f"GET http://{HOST}/\\good HTTP/1.1", _HOST), 400),
    "dot segments behind two layers": (head(f"GET http://{HOST}/a/%252e%252e/good HTTP/1.1", _HOST), 400),
    "a NUL behind an escape": (head(f"GET http://{HOST}/good%00 HTTP/1.1", _HOST), 400),
    "a CR LF behind escapes": (head(f"GET http://{HOST}/good%0d%0aX: HTTP/1.1", _HOST), 400),
    "a host with a slash behind an escape": (head("GET http://a%2fb/good HTTP/1.1", "Host: a%2fb"), 400),
    "a host of dots": (head("GET http://../good HTTP/1.1", "Host: .."), 400),
    "a host that is not ASCII": (head("GET http://\xe9.example.org/ HTTP/1.1", "Host: \xe9.example.org"), 400),
    "a number for a host": (head("GET http://2130706433/ HTTP/1.1", "Host: 2130706433"), 400),
    "a websocket": (head(_GET, _HOST, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"), 403),
    "an unknown expectation": (head(_GET, _HOST, "Expect: miracles"), 417),
    "a huge header": (head(_GET, _HOST, f"X: {'a' * 70_000}"), 431),
    "a head that does not end": (b"GET http://" + b"a" * 70_000, 431),
    "many headers": (head(_GET, _HOST, *[f"X-{i}: a" for i in range(200)]), 431),
    "CONNECT without a port": (head(f"CONNECT {HOST} HTTP/1.1", _HOST), 400),
    "CONNECT with a path": (head(f"CONNECT {HOST}:443/x HTTP/1.1", _HOST), 400),
    "CONNECT to port 0": (head(f"CONNECT {HOST}:0 HTTP/1.1", f"Host: {HOST}:0"), 400),
    "CONNECT to a port too high": (head(f"CONNECT {HOST}:65536 HTTP/1.1", f"Host: {HOST}:65536"), 400),
    "CONNECT with another Host": (head(f"CONNECT {HOST}:443 HTTP/1.1", "Host: other.example.org:443"), 400),
    "CONNECT with a body": (head(f"CONNECT {HOST}:443 HTTP/1.1", _HOST, "Content-Length: 3") + b"abc", 400),
    "CONNECT to hermit.internal": (head("CONNECT hermit.internal:443 HTTP/1.1", "Host: hermit.internal:443"), 403),
    "CONNECT to a name with a NUL": (head("CONNECT a\0b:443 HTTP/1.1", "Host: a"), 400),
    "a chunk without a size": (head(_POST, _HOST, _CHUNKED) + b"zz\r\n", 400),
    "a chunk with a signed size": (head(_POST, _HOST, _CHUNKED) + b"-5\r\nhello\r\n", 400),
    "a chunk that is longer than it says": (head(_POST, _HOST, _CHUNKED) + b"2\r\nabcd\r\n", 400),
    "a chunk's size without CR": (head(_POST, _HOST, _CHUNKED) + b"2\nab\r\n0\r\n\r\n", 400),
    "an extension that does not end": (head(_POST, _HOST, _CHUNKED) + b"2;" + b"x" * 5000, 400),
    "trailers that do not end": (head(_POST, _HOST, _CHUNKED) + b"0\r\n" + b"X: y\r\n" * 5000, 400),
    "a path that climbs": (head("GET http://hermit.internal/../settings.json HTTP/1.1", _INTERNAL), 404),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_clean_request_is_refused_once_and_logged(replaying: Replaying, name: str) -> None:
    octets, status = REFUSED[name]
    before = len(replaying.log)
    got = replaying.raw(octets, end=status == 404)
    assert [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)] == [status]
    assert b"another file" not in got
    assert b"x-hermit: " in got
    line = replaying.wait_for_lines(before + 1)[before]
    assert (line.outcome, line.status) == (Outcome.REFUSED, status)
    assert line.reason


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.7", 443), ("127.0.0.1", 1), ("169.254.169.254", 80), ("[::1]", 443), (HOST, 22)]
)
def test_a_tunnel_leads_nowhere_but_to_the_snapshot(replaying: Replaying, host: str, port: int) -> None:
    with replaying.tunnel(host, port) as sock:
        got = ask(sock, "/good", host=host if port == 80 else f"{host}:{port}")
    assert (got.status, got.headers["x-hermit"]) == (403, "refused")


def test_a_server_name_that_disagrees_with_connect_has_every_request_refused(replaying: Replaying) -> None:
    with replaying.tls(HOST, sni="other.example.org") as sock:
        got = ask(sock, "/good", host="other.example.org")
    assert got.status == 403
    assert b"CONNECT names files.example.org, TLS names other.example.org" in got.body


def test_a_host_within_a_tunnel_that_disagrees_is_refused(replaying: Replaying) -> None:
    with replaying.tls() as sock:
        assert ask(sock, "/good", host="other.example.org").status == 400
    with replaying.tls() as sock:
        assert ask(sock, "http://files.example.org/good").status == 400


def test_connect_within_a_tunnel_is_refused(replaying: Replaying) -> None:
    with replaying.tls() as sock:
        assert ask(sock, f"{HOST}:443", method="CONNECT", host=f"{HOST}:443").status == 400


def test_paths_are_resolved_before_they_are_looked_up(replaying: Replaying) -> None:
    for path in ("/a/../good", "//good", "/./good", "/%67ood", "/a/%2e%2e/good"):
        assert replaying.get(path).body == BODY


def test_rubbish_within_a_tunnel_is_logged_with_its_host(replaying: Replaying) -> None:
    before = len(replaying.log)
    with replaying.tunnel(HOST, 22) as sock:
        sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        assert b" 400 " in read_all(sock)
    line = replaying.wait_for_lines(before + 1)[before]
    assert f"{HOST}:22" in line.url


def test_rubbish_within_tls_is_logged(replaying: Replaying) -> None:
    before = len(replaying.log)
    with replaying.tunnel() as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05rubbish and more of it")
        read_all(sock)
    line = replaying.wait_for_lines(before + 1)[before]
    assert (line.outcome, "TLS" in (line.reason or "")) == (Outcome.FAILED, True)


def test_a_client_that_does_not_trust_the_authority_is_named_in_the_log(replaying: Replaying) -> None:
    before = len(replaying.log)
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(replaying.tunnel(), server_hostname=HOST)
    line = replaying.wait_for_lines(before + 1)[before]
    assert line.url == f"https://{HOST}:443"
    assert "does not trust" in (line.reason or "")


def test_a_body_that_unpacks_to_too_much_is_refused(replaying: Replaying) -> None:
    bomb = gzip.compress(bytes(80 << 20))
    assert len(bomb) < 100_000
    with replaying.tls() as sock:
        got = ask(sock, "/good", method="POST", headers=["Content-Encoding: gzip"], body=bomb)
    assert got.status == 413


def test_a_refusal_by_rule_reads_over_the_body_and_keeps_the_connection(replaying: Replaying) -> None:
    with replaying.tls("audit.example.org") as sock:
        for _ in range(2):
            got = ask(sock, "/-/npm/v1/security/audits", method="POST", host="audit.example.org", body=b"x" * 300_000)
            assert (got.status, b"a rule rejects it" in got.body) == (403, True)
    assert not [line for line in replaying.log if "audit" in line.url and line.broken]


def test_a_refusal_by_rule_does_not_ask_for_the_body(replaying: Replaying) -> None:
    lines = ["POST /x HTTP/1.1", "Host: audit.example.org", "Content-Length: 5", "Expect: 100-continue"]
    with replaying.tls("audit.example.org") as sock:
        sock.sendall(head(*lines))
        assert read_answer(sock).status == 403
        assert read_all(sock) == b""


def test_an_endless_body_is_cut(replaying: Replaying) -> None:
    with replaying.connect() as sock:
        sock.sendall(head(_POST, _HOST, _CHUNKED))
        piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        with suppress(ConnectionError):
            for _ in range(200):
                sock.sendall(piece)
            pytest.fail("200 MB of a body were taken")
    assert resident(replaying) < 200 << 20


def test_many_large_bodies_at_once_stay_within_the_budget(replaying: Replaying) -> None:
    """Ten clients hold back the last byte of 60 MB each: 600 MB if nobody counted."""
    socks = [replaying.connect() for _ in range(10)]
    piece = bytes(1 << 20)

    def fill(sock: socket.socket) -> None:
        sock.sendall(head(_POST, _HOST, f"Content-Length: {60 << 20}"))
        with suppress(OSError):
            for _ in range(59):
                sock.sendall(piece)

    threads = [threading.Thread(target=fill, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert resident(replaying) < 400 << 20
    for sock in socks:
        sock.close()
    assert any(line.status == 503 for line in replaying.log)


def test_a_client_that_sends_ahead_and_reads_nothing_is_held_back(replaying: Replaying) -> None:
    before = resident(replaying)
    with replaying.connect() as sock:
        sock.settimeout(2)
        with suppress(TimeoutError):
            for _ in range(2000):
                sock.sendall(GOOD * 500)
            pytest.fail("70 MB of requests were taken without an answer being read")
        assert resident(replaying) - before < 40 << 20


def test_many_slow_readers_cost_little_memory(replaying: Replaying) -> None:
    before = resident(replaying)
    socks = [replaying.connect() for _ in range(60)]
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(GOOD.replace(b"/good", b"/large"))
    for sock in socks:
        sock.recv(1)
    assert resident(replaying) - before < 80 << 20
    for sock in socks:
        sock.close()


def test_idle_connections_make_room_for_new_ones(replaying: Replaying) -> None:
    socks = [replaying.connect() for _ in range(1100)]
    assert replaying.get("/good").body == BODY
    for sock in socks:
        sock.close()


def test_a_half_sent_request_is_logged_when_its_client_goes(replaying: Replaying) -> None:
    before = len(replaying.log)
    sock = replaying.connect()
    sock.sendall(b"GET http://half.example.org/x HTT")
    sock.close()
    line = replaying.wait_for_lines(before + 1)[before]
    assert (line.outcome, line.url) == (Outcome.FAILED, "http://half.example.org/x")


def test_a_connection_that_asks_nothing_leaves_no_line(replaying: Replaying) -> None:
    before = len(replaying.log)
    replaying.connect().close()
    replaying.tunnel().close()
    assert replaying.get("/good").status == 200
    assert len(replaying.wait_for_lines(before + 1)) == before + 1


def test_a_hundred_clients_at_once_are_all_answered(replaying: Replaying) -> None:
    failures: list[str] = []

    def work() -> None:
        try:
            with replaying.tls() as sock:
                for path in ("/good", "/secret", "/nowhere", "/good"):
                    ask(sock, path)
        except OSError as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def resident(replaying: Replaying) -> int:
    """Give the resident memory of the proxy in bytes."""
    text = Path(f"/proc/{replaying.proxy.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024

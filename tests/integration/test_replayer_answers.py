"""Shows that a replayer answers real clients exactly as recorded, framed to the byte, and refuses the rest in words."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import random
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy.run.events import Outcome
from tests.support.replaying import HOST, Project, Replaying, ask, read_all, read_answer

BIG = random.Random(7).randbytes(3 << 20)  # noqa: S311  a body, no secret
QUESTION = b"0014command=fetch0000"
URL = f"https://{HOST}"


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaying]:
    project = Project(tmp_path_factory.mktemp("answers") / "project")
    dated = (("etag", '"v1"'), ("last-modified", "Mon, 06 Nov 2023 10:00:00 GMT"))
    project.add(f"{URL}/big", BIG, headers=(("content-type", "application/zip"), *dated))
    project.add(f"{URL}/small", b"0123456789", headers=dated)
    project.add(f"{URL}/empty", b"")
    project.add(f"{URL}/gone", None, status=404)
    project.add(f"{URL}/none", None, status=204)
    project.add(f"{URL}/away", None, status=302, headers=(("location", "https://other.example.org/x"),))
    project.add(f"{URL}/announced", None, method="HEAD", size=12345)
    project.add(f"{URL}/token", None, stand_in="token", headers=(("content-type", "application/json"),))
    project.add(f"{URL}/page", b"<a>", vary=(("accept", "text/html"),), headers=(("content-type", "text/html"),))
    project.add(
        f"{URL}/page", b"{}", vary=(("accept", "application/json"),), headers=(("content-type", "application/json"),)
    )
    project.add(f"{URL}/rpc", b"pack", method="POST", body=hashlib.sha256(QUESTION).hexdigest())
    project.add(f"{URL}/packed", gzip.compress(b"text", mtime=0), headers=(("content-encoding", "gzip"),))
    project.add(f"http://{HOST}/plain", b"in the clear")
    project.add(f"http://{HOST}:8080/port", b"another port")
    with Replaying(project) as running:
        yield running


def test_a_body_comes_whole_whatever_its_size(replaying: Replaying) -> None:
    got = replaying.get("/big")
    assert (got.status, got.body == BIG, got.headers["content-type"]) == (200, True, "application/zip")
    assert replaying.get("/small").body == b"0123456789"
    assert replaying.get("/empty").headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, len(BIG)),
        ("bytes=-7", len(BIG) - 7, len(BIG)),
        ("bytes=1000000-2000000", 1_000_000, 2_000_001),
        (f"bytes=1-{len(BIG) * 9}", 1, len(BIG)),
    ],
)
def test_one_range_is_cut_from_the_whole(replaying: Replaying, asked: str, start: int, stop: int) -> None:
    got = replaying.get("/big", headers=[f"Range: {asked}"])
    assert got.status == 206
    assert got.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(BIG)}"
    assert got.body == BIG[start:stop]


def test_a_range_behind_the_end_is_answered_416(replaying: Replaying) -> None:
    got = replaying.get("/small", headers=["Range: bytes=10-"])
    assert (got.status, got.headers["content-range"]) == (416, "bytes */10")


def test_answers_without_body_leave_the_connection_in_step(replaying: Replaying) -> None:
    """HEAD, 204, 304 and a redirect in a row on one connection, then a body: one byte too many would shift it."""
    with replaying.tls() as sock:
        head = ask(sock, "/big", method="HEAD")
        assert (head.status, head.headers["content-length"], head.body) == (200, str(len(BIG)), b"")
        assert ask(sock, "/announced", method="HEAD").headers["content-length"] == "12345"
        none = ask(sock, "/none")
        assert (none.status, "content-length" in none.headers) == (204, False)
        same = ask(sock, "/small", headers=['If-None-Match: "v1"'])
        assert (same.status, same.headers["etag"], "content-length" in same.headers) == (304, '"v1"', False)
        assert ask(sock, "/small", headers=["If-Modified-Since: Tue, 07 Nov 2023 10:00:00 GMT"]).status == 304
        away = ask(sock, "/away")
        assert (away.status, away.headers["location"]) == (302, "https://other.example.org/x")
        assert ask(sock, "/nowhere", method="HEAD").status == 403
        assert ask(sock, "/gone", method="HEAD").status == 404
        assert ask(sock, "/small").body == b"0123456789"


def test_requests_sent_ahead_are_answered_in_order(replaying: Replaying) -> None:
    requests = [
        f"GET /{path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for path in ("big", "small", "gone", "small", "none", "big")
    ]
    with replaying.tls() as sock:
        sock.sendall("".join(requests).encode())
        got = [read_answer(sock) for _ in requests]
    assert [answer.status for answer in got] == [200, 200, 404, 200, 204, 200]
    assert got[0].body == got[5].body == BIG


def test_a_request_may_come_byte_by_byte(replaying: Replaying) -> None:
    with replaying.tls() as sock:
        for octet in f"GET /small HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode():
            sock.sendall(bytes([octet]))
        assert read_answer(sock).body == b"0123456789"


def test_a_head_that_was_answered_once_is_not_enough_where_a_body_comes(replaying: Replaying) -> None:
    head = f"GET /small HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with replaying.tls() as sock:
        sock.sendall(head)
        sock.sendall(b"0\r\n\r\n")
        assert read_answer(sock).status == 200
        sock.sendall(head)
        sock.sendall(b"5\r\nhello\r\n0\r\n\r\n")
        assert read_answer(sock).status == 403
        assert ask(sock, "/small").status == 200


def test_the_answer_is_negotiated_by_what_the_entry_varies_by(replaying: Replaying) -> None:
    assert replaying.get("/page", headers=["Accept: text/html"]).body == b"<a>"
    assert replaying.get("/page", headers=["Accept: application/json"]).body == b"{}"
    assert replaying.get("/page", headers=["Accept: application/json;q=0.2, text/html"]).body == b"<a>"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_post_is_found_by_its_decoded_body(replaying: Replaying, *, packed: bool, chunked: bool) -> None:
    body = gzip.compress(QUESTION) if packed else QUESTION
    headers = ["Content-Encoding: gzip"] if packed else []
    with replaying.tls() as sock:
        if chunked:
            framed = b"%x;why=not\r\n%s\r\n1\r\n%s\r\n0\r\nX-Sum: x\r\n\r\n" % (len(body) - 1, body[:-1], body[-1:])
            lines = ["POST /rpc HTTP/1.1", f"Host: {HOST}", *headers, "Transfer-Encoding: chunked", "", ""]
            sock.sendall("\r\n".join(lines).encode() + framed)
            assert read_answer(sock).body == b"pack"
        else:
            assert ask(sock, "/rpc", method="POST", headers=headers, body=body).body == b"pack"
        refused = ask(sock, "/rpc", method="POST", body=b"another question")
        assert (refused.status, ask(sock, "/small").status) == (403, 200)


def test_expect_is_answered_before_the_body_where_it_is_wanted(replaying: Replaying) -> None:
    head = f"POST /rpc HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(QUESTION)}\r\nExpect: 100-continue\r\n\r\n"
    with replaying.tls() as sock:
        sock.sendall(head.encode())
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(QUESTION)
        assert read_answer(sock).body == b"pack"


def test_a_token_is_answered_with_a_stand_in(replaying: Replaying) -> None:
    got = replaying.get("/token")
    assert (got.status, b'"token":"hermit-stand-in"' in got.body) == (200, True)


def test_plain_http_is_replayed_in_absolute_form_and_within_a_tunnel(replaying: Replaying) -> None:
    close = "Connection: close\r\n\r\n"
    absolute = f"GET http://{HOST}/plain HTTP/1.1\r\nHost: {HOST}\r\n{close}"
    assert replaying.raw(absolute.encode()).endswith(b"\r\n\r\nin the clear")
    port = f"GET http://{HOST}:8080/port HTTP/1.1\r\nHost: {HOST}:8080\r\n{close}"
    assert replaying.raw(port.encode()).endswith(b"\r\n\r\nanother port")
    with replaying.tunnel(HOST, 80) as sock:
        assert ask(sock, "/plain").body == b"in the clear"


def test_http_1_0_clients_are_answered_and_hung_up_on(replaying: Replaying) -> None:
    got = replaying.raw(f"GET http://{HOST}/plain HTTP/1.0\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in got


def test_a_client_that_stops_sending_still_gets_its_answer(replaying: Replaying) -> None:
    got = replaying.raw(f"GET http://{HOST}/plain HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(), end=True)
    assert got.endswith(b"in the clear")


def test_an_offer_of_h2c_is_passed_over(replaying: Replaying) -> None:
    headers = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]
    lines = [f"GET http://{HOST}/plain HTTP/1.1", f"Host: {HOST}", *headers, "", ""]
    with replaying.connect() as sock:
        sock.sendall("\r\n".join(lines).encode() * 2)
        assert [read_answer(sock).body for _ in range(2)] == [b"in the clear"] * 2


def test_only_http_1_is_offered_within_tls(replaying: Replaying) -> None:
    context = ssl.create_default_context(cafile=str(replaying.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(replaying.tunnel(), server_hostname=HOST) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_a_refusal_says_what_why_and_what_helps(replaying: Replaying) -> None:
    got = replaying.get("/nowhere?token=mysecret&x=1")
    assert (got.status, got.headers["x-hermit"]) == (403, "refused")
    text = got.body.decode()
    assert f"GET {URL}/nowhere?token=...&x=1" in text
    assert "the snapshot does not have it" in text
    assert "hermit run --mode record" in text
    line = next(event for event in reversed(replaying.log) if event.outcome is Outcome.REFUSED)
    assert (line.url, line.broken) == (f"{URL}/nowhere?token=...&x=1", True)


def test_curl_reuses_a_tunnel_and_resumes(replaying: Replaying, tmp_path: Path) -> None:
    partial = tmp_path / "part"
    partial.write_bytes(BIG[:100_000])
    proxy = ["-sS", "-x", f"http://127.0.0.1:{replaying.port}", "--cacert", str(replaying.ca)]
    subprocess.run(["curl", *proxy, "-C", "-", "-o", str(partial), f"{URL}/big"], check=True, timeout=60)
    assert partial.read_bytes() == BIG
    done = subprocess.run(
        ["curl", *proxy, "-w", "%{num_connects}", f"{URL}/small", f"{URL}/small", "--compressed", f"{URL}/packed"],
        check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    assert done.stdout == b"012345678910123456789" + b"0text0"


def test_pythons_client_reads_answers_on_one_connection(replaying: Replaying) -> None:
    context = ssl.create_default_context(cafile=str(replaying.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", replaying.port, context=context, timeout=30)
    connection.set_tunnel(HOST, 443)
    for _ in range(3):
        connection.request("GET", "/small")
        assert connection.getresponse().read() == b"0123456789"
    connection.close()


def test_an_upload_is_kept_only_under_its_own_digest(replaying: Replaying) -> None:
    body = b"an artifact" * 1000
    digest = hashlib.sha256(body).hexdigest()
    with replaying.connect() as sock:
        wrong = ask(
            sock, f"http://hermit.internal/upload/sha256/{'0' * 64}", method="PUT", host="hermit.internal", body=body
        )
        assert wrong.status == 422
        assert not replaying.project.store.has(digest)
        for _ in range(2):
            right = f"http://hermit.internal/upload/sha256/{digest}"
            assert ask(sock, right, method="PUT", host="hermit.internal", body=body).status == 201
    assert replaying.project.store.read(digest) == body


def test_uploads_of_a_run_end_at_their_limit(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", upload_limit=1000)
    chunked = b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"
    head = f"PUT http://hermit.internal/upload/sha256/{'0' * 64} HTTP/1.1\r\nHost: hermit.internal\r\n".encode()
    with Replaying(project) as replaying:
        assert b" 413 " in replaying.raw(head + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001)
        assert b" 413 " in replaying.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked)
        fits = b"Content-Length: 1000\r\nConnection: close\r\n\r\n" + b"x" * 1000
        assert b" 422 " in replaying.raw(head + fits)
    assert not list((tmp_path / "project/store/tmp").iterdir())


def test_hermit_internal_gives_the_certificate_and_is_there_over_plain_http_only(replaying: Replaying) -> None:
    with replaying.connect() as sock:
        got = ask(sock, "http://hermit.internal/ca.pem", host="hermit.internal")
        assert got.body == replaying.ca.read_bytes()
        assert ask(sock, "http://hermit.internal/health", host="hermit.internal").status == 200
        assert ask(sock, "http://hermit.internal/settings.json", host="hermit.internal").status == 404
        assert ask(sock, "http://hermit.internal/health", method="DELETE", host="hermit.internal").status == 405
    assert b" 403 " in replaying.raw(b"CONNECT hermit.internal:443 HTTP/1.1\r\nHost: hermit.internal:443\r\n\r\n")


def test_every_request_has_its_line(replaying: Replaying) -> None:
    before = len(replaying.log)
    with replaying.tls() as sock:
        for path in ("/small", "/small", "/nowhere", "/big"):
            ask(sock, path)
    lines = replaying.wait_for_lines(before + 4)[before:]
    assert [line.outcome.value for line in lines] == ["replayed", "replayed", "refused", "replayed"]
    assert [line.size for line in lines[:2]] == [10, 10]
    assert (lines[3].size, lines[3].sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    assert lines[3].rule == ".*/.*"


def test_a_client_that_hangs_up_is_in_the_log_with_what_it_got(replaying: Replaying) -> None:
    before = len(replaying.log)
    sock = replaying.tls()
    sock.sendall(f"GET /big HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    sock.recv(100)
    sock.close()
    line = replaying.wait_for_lines(before + 1)[before]
    assert line.outcome is Outcome.REPLAYED
    assert line.size == len(BIG) or "hung up" in (line.note or "")


def test_the_end_of_tls_is_said_so_that_nobody_takes_a_cut_for_an_end(replaying: Replaying) -> None:
    with replaying.tls() as sock:
        sock.sendall(f"GET /small HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        # With a cut instead of close_notify this raises ssl.SSLEOFError.
        assert read_all(sock).endswith(b"0123456789")

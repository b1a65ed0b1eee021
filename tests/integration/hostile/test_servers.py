"""Attacks by what a server answers: lies about length, type and digest, split answers, garbage, streams without end."""

from __future__ import annotations

import gzip
import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermit_proxy.run.events import Outcome, RequestEvent
from tests.integration.hostile.rows import attack
from tests.integration.hostile.siege import OPEN_RULES, Proxy, World
from tests.integration.hostile.wire import Hostile, Peer, Reply, answer, ask
from tests.support.testca import TestCA, make_ca

HOST = "inside.example.net"
MIB = 1 << 20


class Stage:
    """Is a recorder and a server that misbehaves as it is told for each path."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.acts: dict[str, Callable[[Peer], None]] = {}
        self.server = Hostile(self._serve)
        self.proxy: Proxy

    def _serve(self, peer: Peer) -> None:
        head = peer.head
        while head:
            path = head.split(b" ")[1].decode()
            self.acts[path](peer)
            if path.startswith("/last"):
                return
            head = peer.next_head()
            self.server.heads.append(head)

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self.server.port}{path}"

    def says(self, raw: bytes, path: str) -> Reply:
        """Have the server say this and hang up, and give what the client got."""
        self.acts[path] = lambda peer: peer.send(raw)
        return self.proxy.get(self.url(path))

    def not_recorded(self, event: RequestEvent) -> None:
        """See that nothing of it was kept."""
        assert event.entry is None
        assert event.sha256 is None
        assert event.outcome in {Outcome.FAILED, Outcome.REFUSED}, event
        assert event.reason


@pytest.fixture
def stage(world: World) -> Iterator[Stage]:
    made = Stage(world)
    with made.server, world.start(allow=[HOST]) as proxy:
        made.proxy = proxy
        proxy.verdicts(0)
        yield made


@attack("answer-too-long")
def test_what_follows_an_answer_is_nobodys_answer(stage: Stage) -> None:
    planted = answer(b"planted")
    stage.acts["/first"] = lambda peer: peer.send(answer(b"first") + planted)
    stage.acts["/second"] = lambda peer: peer.send(answer(b"second"))
    with stage.proxy.client() as client:
        first = client.send(ask(stage.url("/first"))).reply()
        assert first.body == b"first"
        time.sleep(0.2)
        second = client.send(ask(stage.url("/second"))).reply()
        assert second.body != b"planted", second
    for event in stage.proxy.verdicts(2):
        assert event.sha256 != hashlib.sha256(b"planted").hexdigest()
    assert stage.proxy.get(stage.url("/second")).body == b"second"


@attack("answer-before-request")
def test_an_answer_that_comes_before_its_request_is_nobodys(stage: Stage) -> None:
    def first(peer: Peer) -> None:
        peer.send(answer(b"first"))
        time.sleep(0.3)
        peer.send(answer(b"planted"))

    stage.acts["/first"] = first
    stage.acts["/second"] = lambda peer: peer.send(answer(b"second"))
    with stage.proxy.client() as client:
        assert client.send(ask(stage.url("/first"))).reply().body == b"first"
        time.sleep(0.8)
        assert client.send(ask(stage.url("/second"))).reply().body != b"planted"
    for event in stage.proxy.verdicts(2):
        assert event.sha256 != hashlib.sha256(b"planted").hexdigest()


@attack("answer-too-short")
def test_an_answer_that_breaks_off_is_not_recorded(stage: Stage) -> None:
    for number, raw in enumerate(
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort",
            b"HTTP/1.1 200 OK\r\nContent-Le",
        )
    ):
        reply = stage.says(raw, f"/last-{number}")
        assert not reply.whole or reply.failed, (raw, reply)
        stage.not_recorded(stage.proxy.verdict(Outcome.FAILED))
    for sha256 in (hashlib.sha256(b"short").hexdigest(),):
        assert not list(stage.world.store_folder.rglob(sha256))


@attack("answer-two-framings")
def test_an_answer_with_two_framings_is_not_given(stage: Stage) -> None:
    for number, headers in enumerate(
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: +5",
            "Content-Length: 5, 6",
            "Content-Length: -5",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        )
    ):
        reply = stage.says(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode(), f"/last-{number}")
        assert reply.failed or not reply.whole, (headers, reply)
        stage.not_recorded(stage.proxy.verdicts()[0])


@attack("answer-split-head")
def test_a_head_with_control_characters_is_not_given(stage: Stage) -> None:
    for number, header in enumerate(
        (
            b"X: a\rX-Injected: b",
            b"X: a\x00b",
            b"X: a\r\n folded: b",
            b"X: a\x0bb",
            b"X : b",
            b": b",
            b"no colon",
            b"Location: /a\rSet-Cookie: b",
        )
    ):
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + header + b"\r\n\r\nok"
        reply = stage.says(raw, f"/last-{number}")
        assert reply.failed or not reply.whole, (header, reply)
        assert "x-injected" not in reply.headers
        stage.not_recorded(stage.proxy.verdicts()[0])


@attack("garbage")
def test_what_is_no_http_is_a_failure(stage: Stage) -> None:
    for number, raw in enumerate(
        (
            b"",
            b"\x00" * 1000,
            bytes(range(256)) * 10,
            b"SSH-2.0-OpenSSH\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"<html>hello</html>",
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 1000 High\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 700 High\r\nContent-Length: 2\r\n\r\nok",
            b"ICY 200 OK\r\n\r\n",
        )
    ):
        reply = stage.says(raw, f"/last-{number}")
        assert reply.failed, (raw[:40], reply)
        stage.not_recorded(stage.proxy.verdict(Outcome.FAILED))


@attack("switching-protocols")
def test_a_server_that_switches_protocols_is_a_failure(stage: Stage) -> None:
    for number, raw in enumerate(
        (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + bytes(9),
        )
    ):
        reply = stage.says(raw, f"/last-{number}")
        assert reply.status != 101, reply
        stage.not_recorded(stage.proxy.verdict(Outcome.FAILED))


@attack("endless-head-of-server")
def test_heads_and_interim_answers_without_end_are_cut(stage: Stage) -> None:
    def forever(piece: bytes) -> Callable[[Peer], None]:
        def serve(peer: Peer) -> None:
            peer.send(b"HTTP/1.1 200 OK\r\n" if piece.startswith(b"X") else b"")
            for _ in range(2000):
                peer.send(piece)

        return serve

    before = stage.proxy.peak
    for path, piece in (
        ("/last-head", b"X: " + b"a" * 60_000 + b"\r\n"),
        ("/last-line", b"a" * 60_000),
        ("/last-interim", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    ):
        stage.acts[path] = forever(piece)
        reply = stage.proxy.get(stage.url(path))
        assert reply.failed or reply.status == 0, (path, reply)
        stage.not_recorded(stage.proxy.verdict(Outcome.FAILED))
    assert stage.proxy.peak - before < 128 * MIB


@attack("endless-answer")
def test_an_answer_without_end_stops_at_the_rules_size(world: World) -> None:
    sent = []

    def forever(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(500):
            peer.send(bytes(MIB))
            sent.append(MIB)

    rules = OPEN_RULES.replace("ALLOW}", "ALLOW, max_size: 2097152}")
    with Hostile(forever) as server, world.start(rules=rules, allow=[HOST]) as proxy:
        reply = proxy.get(f"http://{HOST}:{server.port}/endless")
        assert not reply.whole
        assert len(reply.body) <= 2 * MIB
        event = proxy.verdict(Outcome.REFUSED, "max_size")
        assert event.entry is None
        assert server.ended.wait(60)
        assert sum(sent) < 100 * MIB
    assert sum(path.stat().st_size for path in (world.store_folder / "tmp").iterdir()) == 0


@attack("answer-bomb")
def test_a_compressed_answer_is_never_unpacked(stage: Stage) -> None:
    packed = gzip.compress(bytes(256 * MIB), 1)
    before = stage.proxy.peak
    reply = stage.says(answer(packed, "Content-Encoding: gzip"), "/last-bomb")
    assert reply.body == packed
    event = stage.proxy.verdict(Outcome.RECORDED)
    assert event.sha256 == hashlib.sha256(packed).hexdigest()
    assert b"accept-encoding: identity" in stage.server.heads[-1].lower()
    assert stage.proxy.peak - before < 100 * MIB


@attack("lying-digest")
def test_a_digest_that_a_server_claims_counts_for_nothing(stage: Stage) -> None:
    claimed = "sha256:" + hashlib.sha256(b"other").hexdigest()
    reply = stage.says(
        answer(b"body", f"Docker-Content-Digest: {claimed}", 'ETag: "x"', "Content-MD5: AAAA"), "/last-digest"
    )
    assert reply.body == b"body"
    event = stage.proxy.verdict(Outcome.RECORDED)
    assert event.entry is not None
    assert event.entry.sha256 == hashlib.sha256(b"body").hexdigest()


@attack("lying-type")
def test_a_type_or_encoding_that_is_a_lie_changes_no_byte(stage: Stage) -> None:
    for number, headers in enumerate(
        (
            ("Content-Encoding: gzip",),
            ("Content-Type: application/json",),
            ("Content-Type: text/html\xff",),
            ("Content-Encoding: br, gzip",),
            ("Content-Type: multipart/byteranges; boundary=x",),
        )
    ):
        reply = stage.says(answer(b"plain text", *headers), f"/last-{number}")
        assert reply.body == b"plain text", headers
        event = stage.proxy.verdicts()[0]
        assert event.outcome is Outcome.RECORDED, event
        assert event.sha256 == hashlib.sha256(b"plain text").hexdigest()


@attack("lying-part")
def test_a_part_is_not_taken_for_the_whole(stage: Stage) -> None:
    raw = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/100\r\nContent-Length: 4\r\n\r\npart"
    stage.says(raw, "/last-part")
    event = stage.proxy.verdicts()[0]
    assert event.entry is None
    assert event.outcome is not Outcome.RECORDED
    stage.says(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "/last-304")
    event = stage.proxy.verdicts()[0]
    assert event.entry is None


@attack("body-where-none-is")
def test_a_body_behind_head_204_or_304_is_not_the_next_answer(stage: Stage) -> None:
    planted = answer(b"planted")
    for number, (method, raw) in enumerate(
        (
            ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n" + planted),
            ("GET", b"HTTP/1.1 204 No Content\r\n\r\n" + planted),
            ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 45\r\n\r\n" + planted),
        )
    ):
        stage.acts[f"/none-{number}"] = lambda peer, raw=raw: peer.send(raw)
        stage.acts[f"/next-{number}"] = lambda peer: peer.send(answer(b"next"))
        with stage.proxy.client() as client:
            client.send(ask(stage.url(f"/none-{number}"), method=method)).reply(method)
            time.sleep(0.1)
            reply = client.send(ask(stage.url(f"/next-{number}"))).reply()
            assert b"planted" not in reply.body, raw
        for event in stage.proxy.verdicts(
            1 if reply.status == 0 and not [e for e in stage.proxy.events() if e.url.endswith(f"/next-{number}")] else 2
        ):
            assert event.sha256 != hashlib.sha256(b"planted").hexdigest()


@attack("off-the-wire")
def test_nothing_that_a_server_says_leads_off_the_wire_or_into_the_record(stage: Stage) -> None:
    headers = (
        'Alt-Svc: h3=":443"',
        "Set-Cookie: id=secret-cookie",
        "X-Token: secret-token",
        "Authorization: Bearer secret-bearer",
        "Connection: X-Token",
        "Date: now",
    )
    reply = stage.says(answer(b"body", *headers), "/last-headers")
    assert not {"alt-svc", "x-token"} & set(reply.headers)
    event = stage.proxy.verdict(Outcome.RECORDED)
    assert event.entry is not None
    assert event.entry.headers == ()
    for path in stage.world.folder.rglob("*"):
        if path.is_file():
            assert b"secret-" not in path.read_bytes(), path


@attack("slow-server")
def test_a_server_that_drips_holds_up_nobody(stage: Stage) -> None:
    def drip(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n")
        for _ in range(6):
            time.sleep(0.3)
            peer.send(b"0123456789")

    stage.acts["/last-drip"] = drip
    clients = [stage.proxy.client().send(ask(stage.url("/last-drip"))) for _ in range(20)]
    stage.proxy.still_good()
    assert [client.reply().body for client in clients] == [b"0123456789" * 6] * 20
    events = stage.proxy.verdicts(20)
    assert stage.server.connections == 1  # one fetches for all
    assert {event.outcome for event in events} == {Outcome.RECORDED, Outcome.REPLAYED}
    for client in clients:
        client.close()


@attack("false-certificate")
def test_a_server_that_cannot_prove_its_name_is_a_failure(world: World, ca: TestCA, tmp_path: Path) -> None:
    rules = OPEN_RULES
    stranger = make_ca(tmp_path / "stranger")
    other_name = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    misnamed = make_ca(tmp_path / "misnamed", names=("other.example.com",))
    other_name.load_cert_chain(misnamed.chain, misnamed.key)
    trusting = (tmp_path / "both.pem", ca.ca.read_bytes() + misnamed.ca.read_bytes())
    trusting[0].write_bytes(trusting[1])
    for context, reason in (
        (stranger.server_context(), "certificate verify failed"),
        (other_name, "certificate verify failed"),
    ):
        with (
            Hostile(context=context) as server,
            world.start(rules=rules, allow=[HOST], upstream_trust=trusting[0]) as proxy,
        ):
            assert proxy.get(f"https://{HOST}:{server.port}/x").failed
            event = proxy.verdict(Outcome.FAILED, reason)
            assert event.entry is None
            assert server.heads in ([], [b""])  # no request was sent to whoever it is
    with Hostile(context=ca.server_context()) as server, world.start(rules=rules, allow=[HOST]) as proxy:
        assert proxy.get(f"https://{HOST}:{server.port}/x").status == 200


@attack("false-certificate-later")
def test_a_server_that_speaks_no_tls_or_breaks_it_off_is_a_failure(world: World) -> None:
    for greeting in (
        b"HTTP/1.1 200 OK\r\n\r\n",
        bytes(100),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    ):
        with Hostile(greeting=greeting) as server, world.start(allow=[HOST]) as proxy:
            assert proxy.get(f"https://{HOST}:{server.port}/x").failed
            assert proxy.verdict(Outcome.FAILED).entry is None

"""Attacks by size and time: bombs, bodies without end, clients that send, read or finish as slowly as they can."""

from __future__ import annotations

import gzip
import hashlib
import socket
import struct
import time
import zlib
from contextlib import ExitStack
from functools import cache

import pytest

from hermit_proxy.run.events import Outcome
from tests.integration.hostile.rows import attack
from tests.integration.hostile.siege import EVIL, World
from tests.integration.hostile.wire import Client, Hostile, ask, eventually

MODES = pytest.mark.parametrize("mode", ["record", "hermetic"])
MIB = 1 << 20


@cache
def bomb(size: int) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = bytes(MIB)
    return b"".join(packer.compress(block) for _ in range(size // MIB)) + packer.flush()


@attack("request-bomb")
@MODES
def test_a_request_that_unpacks_to_a_gigabyte_is_refused_at_bounded_memory(world: World, mode: str) -> None:
    packed = bomb(1024 * MIB)
    assert len(packed) < 8 * MIB
    url = world.origin.url(EVIL, "/bomb")
    with world.start(mode) as proxy:
        proxy.still_good()
        before = proxy.peak
        reply = proxy.send(ask(url, "Content-Encoding: gzip", method="POST", body=packed))
        assert reply.status == 413
        event = next(e for e in eventually(lambda: [e for e in proxy.events() if e.url == url]))
        assert (event.outcome, event.status) == (Outcome.REFUSED, 413)
        assert "unpacks" in (event.reason or "")
        assert proxy.peak - before < 400 * MIB
        assert world.origin.count("/bomb") == 0
        proxy.still_good()
        # Nested members, and one that lies about what it is, cost no more.
        for body in (gzip.compress(b"x") * 100, b"\x1f\x8b" + bytes(100), gzip.compress(packed)):
            reply = proxy.send(ask(url, "Content-Encoding: gzip", method="POST", body=body))
            assert reply.status in {403, 404}, reply
        proxy.still_good()


@attack("endless-request-body")
@MODES
def test_a_request_body_without_end_is_cut(world: World, mode: str) -> None:
    with world.start(mode) as proxy:
        proxy.verdicts(0)
        before = proxy.peak
        url = world.origin.url(EVIL, "/endless")
        sent = 0
        with proxy.client() as client:
            client.send(ask(url, "Transfer-Encoding: chunked", method="POST"))
            chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
            try:
                for _ in range(200):
                    client.sock.sendall(chunk)
                    sent += MIB
            except OSError:
                pass
        assert sent < 150 * MIB
        event = proxy.verdict(Outcome.REFUSED)
        assert event.status == 413
        assert proxy.peak - before < 300 * MIB
        assert world.origin.count("/endless") == 0


@attack("slow-writers")
@MODES
def test_clients_that_never_finish_their_heads_hold_up_nobody(world: World, mode: str) -> None:
    with world.start(mode) as proxy, ExitStack() as stack:
        for number in range(200):
            client = stack.enter_context(proxy.client())
            client.send(ask(world.good)[: 5 + number % 30] if number % 2 else b"")
        proxy.still_good()
    assert proxy.process.died.done()


@attack("slow-bodies")
@MODES
def test_clients_that_never_finish_their_bodies_hold_up_nobody(world: World, mode: str) -> None:
    with world.start(mode) as proxy:
        proxy.verdicts(0)
        with ExitStack() as stack:
            for _ in range(50):
                client = stack.enter_context(proxy.client())
                client.send(ask(world.origin.url(EVIL, "/slow"), "Content-Length: 1000", method="POST") + b"x")
            proxy.still_good()
        events = [event for event in proxy.verdicts(50) if event.outcome is Outcome.FAILED]
        assert len(events) == 50
        assert world.origin.count("/slow") == 0


@attack("slow-readers")
@MODES
def test_clients_that_do_not_read_cost_no_memory_and_hold_up_nobody(world: World, mode: str) -> None:
    body = bytes(64 * MIB)
    url = world.origin.url(EVIL, "/large")
    world.origin.route("/large", body)
    if mode == "hermetic":
        world.remember(url, body)
    with world.start(mode) as proxy:
        if mode == "record":
            assert len(proxy.get(url).body) == len(body)
        proxy.still_good()
        before = proxy.peak
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(proxy.client()).send(ask(url))
            time.sleep(0.5)
            proxy.still_good()
            assert proxy.peak - before < 200 * MIB  # 20 bodies would be 1280
        eventually(lambda: sum(event.url == url for event in proxy.events()) >= 20)
        logged = [event for event in proxy.events() if event.url == url]
        assert len(logged) == 20 + (mode == "record")
        assert all(event.size < len(body) for event in logged[-20:])
        proxy.still_good()


@attack("connection-flood")
@MODES
def test_more_connections_than_there_is_room_for_are_closed_and_forgotten(world: World, mode: str) -> None:
    with world.start(mode) as proxy:
        sockets: list[socket.socket] = []
        try:
            sockets.extend(socket.create_connection(("127.0.0.1", proxy.port), 8) for _ in range(1100))
            time.sleep(0.2)
        finally:
            for sock in sockets:
                sock.close()
        assert eventually(lambda: proxy.get(world.good).body == b"good")
        assert not [event for event in proxy.events() if event.url != world.good and event.outcome is Outcome.REFUSED]


@attack("hang-up")
@MODES
def test_a_client_that_resets_in_the_middle_is_logged_once(world: World, mode: str) -> None:
    released = []

    def drip(peer: object) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(100_000))  # type: ignore[attr-defined]  # a Peer
        for _ in range(100):
            time.sleep(0.05)
            peer.send(bytes(1000))  # type: ignore[attr-defined]  # a Peer
        released.append(peer)

    with Hostile(drip) as server:
        url = f"http://inside.example.net:{server.port}/drip"
        if mode == "hermetic":
            world.remember(url, bytes(64 * MIB))
        with world.start(mode, allow=["inside.example.net"]) as proxy:
            with proxy.client() as client:
                client.send(ask(url))
                client.sock.recv(1000)
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            event = proxy.verdicts()[0]
            if mode == "record":
                assert event.outcome is Outcome.FAILED
                assert server.ended.wait(60)  # the connection upstream does not outlive its client
                assert not released
                assert event.entry is None
            else:
                assert "after" in (event.note or "")


@attack("upload-forged")
@MODES
def test_an_upload_is_what_its_digest_says_or_nothing(world: World, mode: str) -> None:
    body = b"an artifact"
    right = hashlib.sha256(body).hexdigest()
    wrong = hashlib.sha256(b"another").hexdigest()
    kept = lambda: {path.name for path in (world.store_folder / "bodies").rglob("*") if path.is_file()}  # noqa: E731  one line
    before = kept()
    with world.start(mode, upload_limit=1000) as proxy:
        at = "http://hermit.internal/upload/sha256/"
        for url, octets, status in (
            (at + wrong, body, {422}),
            (at + right.upper(), body, {404}),
            (at + "../../../" + right, body, {404, 422}),
            (at + "%2e%2e/" + right, body, {404}),
            (at + right[:-1], body, {404}),
            (at + right, bytes(2000), {413}),
        ):
            reply = proxy.send(ask(url, method="PUT", body=octets), method="PUT")
            assert reply.status in status, (url, reply)
            event = proxy.verdicts()[0]
            assert event.outcome in {Outcome.REFUSED, Outcome.FAILED}, event
            assert kept() == before, url
        with proxy.client() as client:  # half an upload
            client.send(ask(at + right, f"Content-Length: {len(body)}", method="PUT") + body[:3])
        assert proxy.verdicts()[0].outcome is not Outcome.RECORDED
        assert kept() == before
        assert proxy.send(ask(at + right, method="PUT", body=body), method="PUT").status == 201
        proxy.verdicts()
        assert kept() == before | {right}
    assert {path.name for path in (world.store_folder / "tmp").iterdir()} == set()


@attack("upload-endless")
@MODES
def test_uploads_of_a_run_share_one_limit(world: World, mode: str) -> None:
    with world.start(mode, upload_limit=4 * MIB) as proxy:
        codes = []
        for number in range(6):
            body = bytes([number]) * MIB
            url = f"http://hermit.internal/upload/sha256/{hashlib.sha256(body).hexdigest()}"
            codes.append(proxy.send(ask(url, method="PUT", body=body), method="PUT").status)
            proxy.verdicts()
        assert codes == [201] * 4 + [413] * 2
        with proxy.client() as client:
            client.send(
                ask("http://hermit.internal/upload/sha256/" + "0" * 64, "Transfer-Encoding: chunked", method="PUT")
            )
            chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
            for _ in range(64):
                client.send(chunk)
        assert proxy.verdicts()[0].outcome in {Outcome.REFUSED, Outcome.FAILED}


@attack("offline-step")
@MODES
def test_what_a_step_leaves_running_gets_nothing_in_the_next(world: World, mode: str) -> None:
    with world.start(mode) as proxy, proxy.client() as left:
        proxy.run(proxy.process.begin_step("fetch", "proxy"))
        assert left.send(ask(world.good)).reply().body == b"good"
        before = len(world.origin.asked)
        for network in ("none", None):
            if network:
                proxy.run(proxy.process.begin_step("build", network))
            else:
                proxy.run(proxy.process.end_step())
            for client in (left, Client(proxy.port)):  # a connection from before, and a new one
                reply = client.send(ask(world.good)).reply()
                assert reply.refused, reply
        proxy.run(proxy.process.begin_step("again", "proxy"))
        assert left.send(ask(world.good)).reply().body == b"good"
        assert len(world.origin.asked) == before
        refused = eventually(lambda: [e for e in proxy.events() if e.outcome is Outcome.REFUSED])
        assert [(e.step, e.reason) for e in refused] == [("build", "this step has no network")] * 2 + [
            (None, "this step has no network")
        ] * 2

"""Fuzzes what Hermit's own processes read of one another, and the bodies that keys and digests are made of."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import socket
import zlib
from collections.abc import Mapping
from typing import Any

from hermit_proxy.request import git as gitbody
from hermit_proxy.request.body import BodyTooLargeError, body_digest
from hermit_proxy.run.control import MAX_PACKET, Control, ControlError, pack, unpack
from hermit_proxy.run.events import RequestEvent
from hermit_proxy.run.har import har
from hermit_proxy.snapshot.entry import Entry
from tests.fuzz.case import Case, attempt, pieces

_LIMIT = 64 * 1024
_DIGEST = "4c25de18" * 8


def _strict(text: str) -> Any:
    def _refuse(word: str) -> Any:
        raise ValueError(word)

    return json.loads(text, parse_constant=_refuse)


def event(data: bytes) -> bool:
    """Read a line of a log, write it again, and make a HAR file of it."""
    line = attempt(data.decode, UnicodeDecodeError)
    read = attempt(lambda: RequestEvent.from_json(line), ValueError) if line is not None else None
    if read is None:
        return False
    _strict(line or "")
    written = read.to_json()
    _strict(written)
    assert "\n" not in written
    assert RequestEvent.from_json(written) == read
    json.dumps(har([read]), allow_nan=False)
    return True


class _Obedient:
    """Is a proxy that does what it is told and notes it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def on_listen(self, sock: socket.socket) -> None:
        sock.close()
        self.done.append("listen")

    def on_step(self, name: str | None, network: str) -> str | None:
        assert network in {"proxy", "none"}
        self.done.append("step")
        return name

    async def on_finish(self) -> None:
        self.done.append("finish")

    def status(self) -> Mapping[str, Any]:
        return {"requests": len(self.done)}


_LOOP = asyncio.new_event_loop()


def control(data: bytes) -> bool:
    """Give a proxy the lines of the input as packets: it obeys or ends, and what it says fits into a packet."""
    messages = [attempt(lambda: unpack(line), ControlError) for line in data.split(b"\n")]  # noqa: B023  it is called at once
    for message in messages:
        if message is not None:
            assert len(pack(message)) <= MAX_PACKET or not all(isinstance(v, str) for v in message.values())
    orders = [message for message in messages if message is not None]
    return _LOOP.run_until_complete(_obeyed(orders)) if orders else False


async def _obeyed(orders: list[dict[str, Any]]) -> bool:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    ended: list[int] = []
    handler = _Obedient()
    proxy = Control(ours.detach(), handler, ended.append)
    proxy.start()
    try:
        for order in orders[:8]:
            proxy._order(order, [])
        if proxy._worker is not None:
            await proxy._worker
        while (said := attempt(lambda: theirs.recv(MAX_PACKET + 1), BlockingIOError)) is not None:
            assert len(said) <= MAX_PACKET
            unpack(said)
    finally:
        proxy._channel.close()
        theirs.close()
    assert ended or len(handler.done) <= len(orders)
    return not ended or ended[0] == 0


def body(data: bytes) -> bool:
    """Digest a body: the first line is its Content-Encoding, the second its Content-Type."""
    encoding, _, rest = data.partition(b"\n")
    content_type, _, raw = rest.partition(b"\n")
    said, typed = encoding.decode("latin-1"), content_type.decode("latin-1")

    def _digest(how: str | None, octets: bytes) -> str | None:
        return body_digest(typed, how, octets, limit=_LIMIT)

    plain = attempt(lambda: _digest(None, raw), BodyTooLargeError)
    assert (plain is None) == (not raw)
    for how, packed in (("gzip", gzip.compress(raw, 1)), ("x-gzip", gzip.compress(raw[:9]) + gzip.compress(raw[9:]))):
        assert not raw or _digest(how, packed) == plain, "packed otherwise, it is another request"
    assert not raw or _digest("deflate", zlib.compress(raw)) == plain
    found = attempt(lambda: _digest(said, raw), BodyTooLargeError)
    if said == "gzip" and raw and typed == "":
        unpacked = _unpacked(raw)
        if unpacked is not None and len(unpacked) <= _LIMIT:
            assert found == hashlib.sha256(unpacked).hexdigest()
    return found is not None


def _unpacked(raw: bytes) -> bytes | None:
    """Unpack with Python's own reader; None where it cannot, and for many members or padding, which we leave packed."""
    try:
        if raw.count(b"\x1f\x8b") > 8 or raw.endswith(b"\0"):
            return None
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return None


def git(data: bytes) -> bool:
    """Read pkt-lines as a request and as a result, in pieces."""
    how, raw = (data[0], data[1:]) if data else (0, b"")
    once = gitbody.normalise_request(raw)
    assert gitbody.normalise_request(once) == once
    whole = gitbody.result_digest([raw] if raw else [])
    assert gitbody.result_digest(pieces(raw, how)) == whole, "how a result is cut changes its digest"
    packets = attempt(lambda: list(gitbody.packets(raw)), gitbody.NotPacketsError)
    if packets is None:
        assert once == raw
        assert whole is None
        return False
    again = b"".join(gitbody._packet(packet) for packet in packets)
    assert again.lower() == raw.lower()
    if once != raw:
        kept = list(gitbody.packets(once))
        named = sum(
            line.count(word) for line in packets if isinstance(line, bytes) for word in (b"agent=", b"session-id=")
        )
        assert named > 0 or once.lower() == raw.lower()
        assert len(kept) <= len(packets)
    return True


def _lines(*texts: bytes | int) -> bytes:
    return b"".join(gitbody._packet(text) for text in texts)


_EVENTS = [
    (
        b'{"time":0,"method":"GET","url":"https://files.example.org/a?b=c","outcome":"refused","status":403,'
        b'"broken":true,"reason":"no rule"}'
    ),
    f'{{"time":1.5,"method":"GET","url":"https://files.example.org/","outcome":"recorded","status":200,"entry":{{"method":"GET",'
    f'"url":"https://files.example.org/","status":200,"sha256":"{_DIGEST}","size":3,"vary":[["accept","a"]],'
    f'"headers":[["etag","b"]]}}}}'.encode(),
    (
        b'{"time":1e3,"method":"","url":"","outcome":"failed","status":0,"duration":2,"size":1,'
        b'"note":"\\ud83d\\ude00\\u0000","step":"a"}'
    ),
]
_JSON_WORDS = (
    b"null",
    b"NaN",
    b"Infinity",
    b"-1e999",
    b"1e309",
    b"true",
    b"[",
    b"{",
    b"}",
    b'""',
    b"\\ud800",
    b"\\n",
    b",",
    b":",
    b'"entry":',
)

CASES = (
    Case(
        "event",
        event,
        _EVENTS,
        (
            *_JSON_WORDS,
            *(b'"%s":' % name.encode() for name in RequestEvent.__slots__),
            *(b'"%s":' % name.encode() for name in Entry.__slots__),
        ),
        2000,
    ),
    Case(
        "control",
        control,
        [
            b'{"op":"step","name":"build","network":"proxy"}\n{"op":"status"}\n{"op":"end-step"}\n{"op":"finish"}',
            b'{"op":"listen"}',
            b'{"op":"step","name":["a"],"network":[]}',
            b'{"op":"step","name":null,"network":"none"}\n{"op":"finish"}',
            b"[]",
            b"[" * 3000,
        ],
        (
            *_JSON_WORDS,
            b'{"op":',
            b'"step"',
            b'"network":"none"',
            b'"network":"proxy"',
            b'"name":',
            b'"end-step"',
            b'"status"',
            b"\n",
        ),
        4000,
    ),
    Case(
        "body",
        body,
        [
            b"\n\nabc",
            b"gzip\n\n" + gzip.compress(b"abc" * 30, mtime=0),
            b"deflate\n\n" + zlib.compress(b"abc" * 30),
            b"deflate\ntext/plain\nabc",
            b"gzip\n\n" + gzip.compress(b"\0" * 200_000, mtime=0),
            b"\napplication/x-www-form-urlencoded\ngrant_type=password&password=a&b=c",
            b"gzip\napplication/x-git-upload-pack-request\n"
            + gzip.compress(_lines(b"command=fetch", b"agent=git/2", 1, 0), mtime=0),
        ],
        (
            b"gzip",
            b"deflate",
            b"\x1f\x8b\x08\0",
            b"\n",
            b"token=",
            b"&",
            b"=",
            b"%70assword=",
            b"\0\0\xff\xff",
            b"0011command=",
        ),
        4096,
    ),
    Case(
        "git",
        git,
        [
            b"\0" + _lines(b"command=fetch", b"agent=git/2.39", b"session-id=ab", 1, b"want " + b"a" * 40, b"done", 0),
            b"\5"
            + _lines(
                b"want " + b"a" * 40 + b" multi_ack_detailed agent=git/2 side-band-64k\n",
                0,
                b"have " + b"b" * 40,
                b"done",
            ),
            b"\1" + _lines(b"NAK\n", b"\1PACK", b"\2progress", b"\1data", 0),
            b"\x21" + _lines(b"packfile", b"\1PACK\0", b"\3fatal", 0),
            b"\x40" + _lines(b"ERR no", 0, 2),
            b"\0" + _lines(b"shallow-info\n", b"shallow " + b"c" * 40, 1, b"packfile\n", b"\1PACK", 2),
        ],
        (
            b"0000",
            b"0001",
            b"0002",
            b"0003",
            b"0004",
            b"0005\1",
            b"fff0",
            b"FFF1",
            b"agent=",
            b" agent=x",
            b"session-id=",
            b"command=",
            b"want ",
        ),
        2000,
    ),
)

"""Fuzzes the reader that stands before mitmproxy's: what gets past it is what h11 reads in the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from mitmproxy import http, options
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseEndOfMessage,
    ResponseHeaders,
)

from hermit_proxy.recorder.exchange import Problem
from hermit_proxy.recorder.head import BadHeadError, Head, Tunnel
from hermit_proxy.recorder.strict_http import StrictHttp1Server
from hermit_proxy.run.events import Outcome
from tests.fuzz.case import Case, pieces
from tests.fuzz.framing import heard
from tests.fuzz.heads import WORDS

_BODY_LIMIT = 2000
_OPTIONS = options.Options()


@dataclass
class Observer:
    """Notes what the reader says."""

    heads: list[Head] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def head_read(self, _client: str, head: Head) -> None:
        assert not self.refused, "a head after the refusal"
        self.heads.append(head)

    def head_refused(self, _client: str, _tunnel: Tunnel | None, raw: bytes, error: BadHeadError) -> Problem:
        assert raw
        return self._no(error.status, str(error))

    def tunnel_fault(self, _client: str) -> str | None:
        return None

    def problem(self, _client: str) -> Problem | None:
        return None

    def body_limit(self, _client: str) -> int:
        return _BODY_LIMIT

    def body_refused(self, _client: str, status: int, reason: str) -> Problem:
        return self._no(status, reason)

    def _no(self, status: int, reason: str) -> Problem:
        assert 400 <= status < 500
        self.refused.append(status)
        return Problem(Outcome.REFUSED, status, reason)


@dataclass
class _Request:
    """Is what mitmproxy got."""

    method: bytes
    target: bytes
    body: bytes = b""
    whole: bool = False


class Conversation:
    """Drives one reader, and answers every whole request."""

    def __init__(self, *, tunnel: bool) -> None:
        client = Client(
            peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), timestamp_start=0.0, state=ConnectionState.OPEN
        )
        client.tls = tunnel
        context = Context(client, _OPTIONS)
        if tunnel:
            context.server.address = ("files.example.org", 443)
        self.client = client
        self.observer = Observer()
        self.requests: list[_Request] = []
        self.closed = False
        self.sent = b""
        self.reader = StrictHttp1Server(context, self.observer, lambda _reader: None)
        self.give(events.Start())

    def give(self, event: events.Event) -> None:
        """Let the reader work, and do what it commands."""
        for command in self.reader.handle_event(event):
            if isinstance(command, commands.SendData):
                assert not self.closed
                self.sent += command.data
            elif isinstance(command, commands.CloseConnection):
                self.closed = True
            elif isinstance(command, ReceiveHttp):
                self._received(command.event)

    def _received(self, event: object) -> None:
        if isinstance(event, RequestHeaders):
            assert not self.requests or self.requests[-1].whole
            data = event.request.data
            target = bytes(data.authority) if data.method == b"CONNECT" else bytes(data.path)
            self.requests.append(_Request(data.method, target))
        elif isinstance(event, RequestData):
            self.requests[-1].body += event.data
        elif isinstance(event, RequestEndOfMessage):
            self.requests[-1].whole = True

    def answer(self) -> None:
        """Answer the request that was read last, which lets the reader go on."""
        stream = self.reader.stream_id
        response = http.Response.make(204, b"", {})
        self.give(ResponseHeaders(stream, response, end_stream=True))
        self.give(ResponseEndOfMessage(stream))


def intake(data: bytes) -> bool:
    flags, how, stream = [*data[:2], 0, 0][0], [*data[:2], 0, 0][1], data[2:]
    talk = Conversation(tunnel=bool(flags & 1))
    answered = 0
    for part in pieces(stream, how):
        if talk.closed or (talk.requests and talk.requests[-1].method == b"CONNECT"):
            break
        talk.give(events.DataReceived(talk.client, part))
        while not talk.closed and answered < len(talk.requests) and talk.requests[answered].whole:
            answered += 1
            talk.answer()
    if not talk.closed:
        talk.give(events.ConnectionClosed(talk.client))
    assert len(talk.observer.refused) <= 1
    assert bool(talk.observer.refused) == (talk.sent.count(b"x-hermit: refused") == 1)
    assert len(talk.observer.heads) == len(talk.requests)
    _check(talk, stream)
    return bool(answered)


def _check(talk: Conversation, stream: bytes) -> None:
    """Compare what mitmproxy was handed as whole with what h11 reads."""
    asked = heard(stream, skip_lines=True)
    whole = [request for request in talk.requests if request.whole]
    assert len(whole) <= len(asked), "mitmproxy gets a request that h11 does not see"
    for request, peer, head in zip(whole, asked, talk.observer.heads, strict=False):
        assert request.method == peer.method
        assert head.method.encode() == peer.method
        assert request.body == peer.body
        assert len(request.body) <= _BODY_LIMIT
        assert not peer.trailers
        assert peer.target.endswith(request.target) or not request.target.isascii() or b"://" in peer.target


_H = b" HTTP/1.1\r\nHost: files.example.org\r\n"
_A = b"GET http://files.example.org/a" + _H
_SEEDS = (
    b"\0\0" + _A + b"\r\n" + _A + b"\r\n",
    b"\1\3GET /a" + _H + b"\r\n",
    b"\0\0POST http://files.example.org/p" + _H + b"Content-Length: 5\r\n\r\nhello" + _A + b"\r\n",
    b"\0\0POST http://files.example.org/p"
    + _H
    + b"Transfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n\r\n"
    + _A
    + b"\r\n",
    b"\0\x40POST http://files.example.org/p" + _H + b"Transfer-Encoding: chunked\r\n\r\n0\r\nT: u\r\n\r\n",
    b"\0\0CONNECT files.example.org:443 HTTP/1.1\r\n\r\n\x16",
    b"\0\0GET http://files.example.org/a HTTP/1.0\r\n\r\n",
    b"\0\0" + _A + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n" + _A + b"\r\n",
)
_MORE = (
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"fffffffffffffffff\r\n",
    b"A" * 400,
    b";" + b"e" * 300,
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
)
CASES = (Case("recorder", intake, _SEEDS, (*WORDS, *_MORE), 3000),)

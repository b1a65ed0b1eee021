"""Puts a strict reader before mitmproxy's HTTP/1 server, and bounds what it keeps in memory for a client."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

import h11
from mitmproxy.connection import ConnectionState
from mitmproxy.http import Request
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import RequestHeaders, ResponseHeaders, ResponseProtocolError
from mitmproxy.proxy.layers.http._http1 import Http1Server, TBodyReader, make_body_reader

from hermit_proxy.recorder.answers import plain_answer
from hermit_proxy.recorder.budget import SMALL
from hermit_proxy.recorder.exchange import Problem
from hermit_proxy.recorder.head import MAX_HEAD, BadHeadError, Head, Tunnel, read_head
from hermit_proxy.recorder.inplace import Stream

# What may lie unread before the next request is looked at: more, and the client's connection is not read on.
MAX_UNREAD = 256 * 1024
_MAX_CHUNK_LINE = 16 * 1024


class Observer(Protocol):
    """Learns what the reader finds."""

    def head_read(self, client: str, head: Head) -> None:
        """Take a good head; mitmproxy reports the same request next."""

    def head_refused(self, client: str, tunnel: Tunnel | None, raw: bytes, error: BadHeadError) -> Problem:
        """Take a head that was refused, of which nobody else hears, and give what to answer."""

    def tunnel_fault(self, client: str) -> str | None:
        """Say what is wrong with the client's tunnel."""

    def problem(self, client: str) -> Problem | None:
        """Give why the open request of a client cannot be answered."""

    def body_limit(self, client: str) -> int:
        """Give how many bytes the body of the open request may have."""

    def body_refused(self, client: str, status: int, reason: str) -> Problem:
        """Take why the body of the open request is not read, and give what to answer."""


class UnreadableBodyError(Exception):
    """Is raised for a request's body that cannot be read to its end."""


class BodyReader:
    """Reads a body, and refuses what mitmproxy would hang up on without a word (chunks of nonsense, trailers)."""

    def __init__(self, reader: TBodyReader) -> None:
        """Take h11's reader."""
        self._reader = reader

    def __call__(self, buffer: Any) -> Any:
        """Give the next part, None where it has not come yet."""
        try:
            event = self._reader(buffer)
        except h11.ProtocolError as error:
            raise UnreadableBodyError(f"a body that cannot be read: {error}") from error
        if isinstance(event, h11.EndOfMessage) and event.headers:
            raise UnreadableBodyError("a body with trailers, which are not passed on")
        return event

    def read_eof(self) -> Any:
        """Give the end, or raise h11.ProtocolError where it has not been reached."""
        return self._reader.read_eof()


class StrictHttp1Server(Http1Server):
    """Is mitmproxy's reader of client requests behind `read_head`."""

    def __init__(self, context: Context, observer: Observer, register: Callable[[StrictHttp1Server], None]) -> None:
        """Take the connection's context, who learns of heads, and who asks how much is unread."""
        super().__init__(context)
        self._observer = observer
        self._body_bytes = 0
        # What the head says; None for chunks.
        self._announced: int | None = 0
        self._streamed = False
        register(self)

    @property
    def unread(self) -> int:
        """Give the bytes that came and were not looked at."""
        return len(self.buf)

    @property
    def holds(self) -> int:
        """Give the bytes of memory that the open request's body has or may come to have, 0 where they are few."""
        reading = self.state == self.read_body
        if self._streamed or not (reading or self.state == self.wait):
            return 0
        # It never grows once there is something: who waits for memory must hold none.
        size = self._body_bytes if self._announced is None else self._announced
        if size <= SMALL:
            return 0
        return self._observer.body_limit(self.conn.id) if reading and self._announced is None else size

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Read a head once it is whole, strictly first; mitmproxy gets what its own reader makes of the same octets."""
        if not isinstance(event, events.DataReceived):
            yield from super().read_headers(event)
            return
        self._skip_empty_line()
        raw = bytes(self.buf)[: MAX_HEAD + 4]
        end = raw.find(b"\r\n\r\n")
        tunnel = self._tunnel()
        try:
            if end < 0:
                _check_unfinished(raw)
                return
            head = read_head(raw[:end], tunnel)
            self.request, announced = _read(raw[:end])
        except BadHeadError as error:
            problem = self._observer.head_refused(self.conn.id, tunnel, raw, error)
            yield commands.SendData(self.conn, plain_answer(problem))
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            return
        self.buf.maybe_extract_at_most(end + 4)
        self._body_bytes, self._announced, self._streamed = 0, announced, head.internal
        self._observer.head_read(self.conn.id, head)
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, announced == 0))
        self.body_reader = make_body_reader(announced)
        self.state = self.read_body
        yield from self.state(event)

    @property  # type: ignore[override]  # it is called as h11's readers are
    def body_reader(self) -> BodyReader:
        """Give what reads the open request's body."""
        return self._body_reader

    @body_reader.setter
    def body_reader(self, reader: TBodyReader) -> None:
        """Put the checks around whatever mitmproxy has chosen."""
        self._body_reader = BodyReader(reader)

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read a body within its limit."""
        if isinstance(event, events.DataReceived):
            self._body_bytes += len(event.data)
            if max(self._body_bytes, self._announced or 0) > self._observer.body_limit(self.conn.id):
                yield from self._end_body(413, "the request's body is too large")
                return
        try:
            yield from super().read_body(event)
        except UnreadableBodyError as error:
            yield from self._end_body(400, str(error))
            return
        if self.state == self.read_body and len(self.buf) > _MAX_CHUNK_LINE:
            yield from self._end_body(400, "a chunk size that does not end")

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Answer with what the proxy has to say where mitmproxy would send a page of its own, or nothing."""
        if isinstance(event, ResponseHeaders) and event.response.status_code == HTTPStatus.CONTINUE:
            # It is no answer: kept as one, it would stand in the way of whatever has to be said later.
            yield commands.SendData(self.conn, b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        problem = self._observer.problem(self.conn.id)
        if isinstance(event, ResponseProtocolError) and problem is not None and not self.response:
            if self.conn.state & ConnectionState.CAN_WRITE:
                yield commands.SendData(self.conn, plain_answer(problem))
                yield commands.CloseConnection(self.conn)
            return
        yield from super().send(event)

    def _skip_empty_line(self) -> None:
        # Some clients end a body with one line too many (RFC 9112 section 2.2).
        if bytes(self.buf).startswith(b"\r\n"):
            self.buf.maybe_extract_at_most(2)

    def _tunnel(self) -> Tunnel | None:
        address = self.context.server.address
        if address is None:
            return None
        fault = self._observer.tunnel_fault(self.conn.id)
        return Tunnel(address[0], address[1], tls=self.context.client.tls, fault=fault)

    def _end_body(self, status: int, reason: str) -> layer.CommandGenerator[None]:
        problem = self._observer.body_refused(self.conn.id, status, reason)
        if not self.response:
            yield commands.SendData(self.conn, plain_answer(problem))
        yield commands.CloseConnection(self.conn)
        self.state = self.done


class StrictHttpLayer(HttpLayer):
    """Is mitmproxy's HTTP layer, whose requests have their hooks run in place."""

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Begin a request."""
        stream = self.streams[stream_id] = Stream(self.context.fork(), stream_id)
        yield from self.event_to_child(stream, events.Start())


def strict_layer(
    context: Context, mode: HTTPMode, observer: Observer, register: Callable[[StrictHttp1Server], None]
) -> HttpLayer:
    """Make an HTTP layer whose client side is the strict reader.

    HttpLayer keeps a connection that is there before it starts, which mitmproxy's own client replay relies on.
    """
    http = StrictHttpLayer(context, mode)
    http.connections[context.client] = StrictHttp1Server(context.fork(), observer, register)
    return http


def _check_unfinished(raw: bytes) -> None:
    if len(raw) > MAX_HEAD:
        raise BadHeadError(431, f"a head of more than {MAX_HEAD // 1024} KiB")
    if b"\n" in raw.replace(b"\r\n", b""):
        raise BadHeadError(400, "a line that does not end with CR LF")
    if raw and not raw[:1].isalpha():
        raise BadHeadError(400, "not HTTP")


def _read(raw: bytes) -> tuple[Request, int | None]:
    """Give the request as mitmproxy reads it, and the size of its body as the head says it, None for chunks."""
    # What it cannot read it would answer with a page of its own, and nobody would hear of the request.
    try:
        request = http1.read_request_head(raw.split(b"\r\n"))
        return request, http1.expected_http_body_size(request)
    except ValueError as error:
        raise BadHeadError(400, f"a request line or header that cannot be recorded: {error}") from error

"""Speaks with one client of the proxy: HTTP/1.1 read strictly, in the clear or within TLS inside a tunnel."""

from __future__ import annotations

import asyncio
import math
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from typing import Protocol, cast

from hermit_proxy.errors import HermitError
from hermit_proxy.recorder.head import BadHeadError, Tunnel, read_head
from hermit_proxy.replayer import delivery
from hermit_proxy.replayer.body import BodyReader, ChunkedReader, LengthReader
from hermit_proxy.replayer.inbox import Inbox, complaint, joined
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.sinks import Sink
from hermit_proxy.replayer.site import Incoming, Reply, RunOverError, Site
from hermit_proxy.replayer.tls import Contexts
from hermit_proxy.replayer.wire import Wire, WireError

# What a client may send ahead while its last request is being answered.
_AHEAD = 128 * 1024
# What a refused client may go on sending until it is hung up on.
_PATIENCE = 16 << 20
_TLS_RECORD = 0x16
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_HUNG_UP = "the client hung up"


class State(Enum):
    """Is what the next byte of a client belongs to."""

    HEAD = "a request's head"
    SNIFF = "TLS or not, inside a new tunnel"
    BODY = "a request's body"
    LINGER = "nothing: the client was refused and may read why"
    CLOSED = "nothing"


class Hub(Protocol):
    """Keeps the connections of one process within bounds."""

    def opened(self, connection: Connection) -> bool:
        """Take a new connection; tell whether there is room for it."""
        ...

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        ...


class Connection(asyncio.Protocol):
    """Is one connection.

    States: HEAD -> (BODY ->) HEAD ..., with an answer under way or not; HEAD -> SNIFF -> HEAD by CONNECT; from each
    to LINGER -> CLOSED or straight to CLOSED. While an answer is under way what comes waits in a bounded buffer.
    """

    def __init__(
        self, hub: Hub, site: Site, limits: Limits, contexts: Contexts | None, tunnel: Tunnel | None = None
    ) -> None:
        """Take where answers come from; `contexts` None means no TLS, `tunnel` what clients are inside of."""
        self._hub = hub
        self._site = site
        self._limits = limits
        self._contexts = contexts
        self._tunnel = tunnel
        self._state = State.HEAD
        self._inbox = Inbox()
        self._incoming: Incoming | None = None
        self._reader: BodyReader | None = None
        self._sink: Sink | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._ignored = 0
        self._loop = asyncio.get_running_loop()
        self._wire: Wire = cast("Wire", None)  # There is one as soon as anything can happen.
        self.deadline = math.inf
        self.idle_since = self._loop.time()

    @property
    def busy(self) -> bool:
        """Tell whether a request is being read or answered, or the end of an answer is still here."""
        return self._waiting or self._state is State.BODY or self._wire.unsent

    @property
    def idle(self) -> bool:
        """Tell whether nothing would be lost by closing."""
        return not self.busy and not self._inbox and self._state in {State.HEAD, State.SNIFF}

    @property
    def _waiting(self) -> bool:
        return self._task is not None or self._wire.paused

    @property
    def _over(self) -> bool:
        return self._state in {State.LINGER, State.CLOSED}

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse where there are too many connections."""
        self._wire = Wire(cast("asyncio.Transport", transport))
        if not self._hub.opened(self):
            self._complain("too many connections at once", 503)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._over:
            self._ignored += len(data)
            if self._ignored > _PATIENCE:
                self.abort()
            return
        if self._wire.secure:
            data = self._decrypt(data)
            if not data:
                self._settle()
                return
        if not self._inbox and self._state is State.HEAD and not self._waiting:
            hot = self._site.hot(data, self._tunnel)
            if hot is not None:
                self._answer_again(*hot)
                return
        self._inbox.bytes += data
        self._advance()

    def eof_received(self) -> bool:
        """Answer what was asked before the client stopped sending."""
        self._ended = True
        if self._over:
            return False
        self._settle()
        return self._state is not State.CLOSED

    def connection_lost(self, _error: Exception | None) -> None:
        """Let go of everything."""
        if not self._over:
            self._tell_broken_off(_HUNG_UP)
        self._state = State.CLOSED
        self._wire.resume()
        if self._task is None:  # Else the task does this when it notices.
            self._let_go()
            self._hub.closed(self)

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than it is answered."""
        self._wire.pause()
        if not self._over:
            self.deadline = self._loop.time() + self._limits.write

    def resume_writing(self) -> None:
        """Go on."""
        self._wire.resume()
        if self._over:
            return
        self.deadline = math.inf
        if self._task is None:
            self._advance()

    # What the hub calls.

    def expire(self) -> None:
        """End what has taken longer than it may."""
        if self._over or self._wire.paused:
            self.abort()
            return
        what = "body" if self._state is State.BODY else "head"
        self._complain(f"the request's {what} did not come within the time for it", 408)

    def abort(self) -> None:
        """Hang up at once."""
        self._wire.abort()

    # Reading.

    def _advance(self) -> None:
        """Do whatever the bytes that are here allow."""
        try:
            while self._inbox and not self._waiting and self._take():
                pass
        except BadHeadError as error:
            self._complain(str(error), error.status)
        except RunOverError:
            self.abort()
        except HermitError as error:
            self._complain(str(error), 502)
        except Exception:  # noqa: BLE001  one client's request must not end the others'
            traceback.print_exc()
            self._complain("the proxy failed over it", 500)
        self._settle()

    def _take(self) -> bool:
        """Take one step; tell whether another may be possible."""
        if self._state is State.HEAD:
            return self._take_head()
        if self._state is State.SNIFF:
            self._sniff()
            return True
        return self._state is State.BODY and self._take_body()

    def _settle(self) -> None:
        """Bring timers, reading and closing in line with the state."""
        if self._over:
            return
        waiting = self._waiting
        if (self._ended or self._wire.ended) and not waiting:
            self._tell_broken_off("the client stopped sending in the middle of it")
            self._close()
            return
        self._wire.read_on(on=not waiting or len(self._inbox) <= _AHEAD)

    def _take_head(self) -> bool:
        raw = self._inbox.take_head()
        if raw is None:
            if self.deadline == math.inf:
                self.deadline = self._loop.time() + self._limits.head
            return False
        self.deadline = math.inf
        try:
            self._begin(raw)
        except BadHeadError as error:
            self._complain(str(error), error.status, raw)
        return True

    def _begin(self, raw: bytes) -> None:
        head = read_head(raw[:-4], self._tunnel)
        headers = joined(raw)
        length = None if "transfer-encoding" in headers else int(headers.get("content-length", "0"))
        if head.connect is not None:
            self._connect(*head.connect, has_body=length != 0)
            return
        if head.target is None:
            raise BadHeadError(400, "a request for nothing")
        http10 = raw[: raw.index(b"\r\n")].endswith(b"1.0")
        close = http10 or "close" in [part.strip() for part in headers.get("connection", "").lower().split(",")]
        incoming = Incoming(raw, head.method, head.target, headers, length, not close, self._tunnel)
        if incoming.has_body:
            self._begin_body(incoming, http10=http10)
        else:
            self._dispatch(incoming)

    def _begin_body(self, incoming: Incoming, *, http10: bool) -> None:
        sink = self._site.sink(incoming)
        if isinstance(sink, Reply):
            self._answer(sink, close=True)
            self._linger()
            return
        if "expect" in incoming.headers and not http10:
            self._wire.write(_CONTINUE)
        self._incoming, self._sink = incoming, sink
        self._reader = ChunkedReader() if incoming.length is None else LengthReader(incoming.length)
        self._state = State.BODY
        self.deadline = self._loop.time() + self._limits.progress

    def _take_body(self) -> bool:
        if self._reader is None or self._incoming is None or self._sink is None:
            return False
        self.deadline = self._loop.time() + self._limits.progress
        if not self._reader.read(self._inbox.bytes, self._sink.write):
            return False
        incoming = self._incoming
        self._incoming = self._reader = None
        self._state = State.HEAD
        self.deadline = math.inf
        self._dispatch(incoming)
        return True

    # Tunnels.

    def _connect(self, host: str, port: int, *, has_body: bool) -> None:
        if has_body:
            raise BadHeadError(400, "CONNECT with a body")
        reason = self._site.tunnel(host, port)
        if reason is not None or self._contexts is None:
            raise BadHeadError(403, reason or "no tunnels here")
        self._wire.write(_ESTABLISHED)
        self._tunnel = Tunnel(host, port, tls=True)
        self._state = State.SNIFF

    def _sniff(self) -> None:
        if self._tunnel is None or self._contexts is None:
            raise BadHeadError(400, "a tunnel to nowhere")
        self._state = State.HEAD
        if self._inbox.bytes[0] != _TLS_RECORD:
            self._tunnel = replace(self._tunnel, tls=False)
            return
        came = bytes(self._inbox.bytes)
        self._inbox.clear()
        self._wire.start_tls(self._contexts, self._tunnel.host)
        self.deadline = self._loop.time() + self._limits.head
        self._inbox.bytes += self._decrypt(came)

    def _decrypt(self, data: bytes) -> bytes:
        handshaking = self._wire.handshaking
        try:
            clear = self._wire.decrypt(data)
        except WireError as error:
            reason = f"TLS with the client failed: {self._wire.fault or error}"
            self._break_off(b"", reason)
            self._linger()
            return b""
        if handshaking and not self._wire.handshaking:
            self.deadline = math.inf
            if self._tunnel is not None and self._wire.fault is not None:
                self._tunnel = replace(self._tunnel, fault=self._wire.fault)
        return clear

    # Answering.

    def _dispatch(self, incoming: Incoming) -> None:
        reply = self._site.respond(incoming, self._sink)
        if not isinstance(reply, Reply) or reply.file is not None:
            self._task = self._loop.create_task(self._serve(incoming, reply))
            return
        self._let_go()
        close = reply.close or not incoming.keep_alive
        self._answer(reply, close=close)
        if close:
            self._part(refused=reply.close)

    def _answer(self, reply: Reply, *, close: bool) -> None:
        """Send an answer that is in memory."""
        delivery.send(self._wire, reply, close=close)
        self.idle_since = self._loop.time()

    def _answer_again(self, octets: bytes, log: Callable[[], None]) -> None:
        with suppress(RunOverError):
            log()
            self._wire.write(octets)
            self.idle_since = self._loop.time()

    async def _serve(self, incoming: Incoming, promised: Reply | Awaitable[Reply]) -> None:
        # Never cancelled: that a client hung up is noticed at each step, so that every request gets its line.
        whole = close = refused = False
        try:
            reply = promised if isinstance(promised, Reply) else await promised
            refused = reply.close
            close = refused or not incoming.keep_alive
            whole = await delivery.stream(self._wire, reply, close=close, over=lambda: self._over)
        except RunOverError:
            pass
        except Exception:  # noqa: BLE001  one client's request must not end the others'
            traceback.print_exc()
            self._complain("the proxy failed over it", 500, incoming.raw)
        finally:
            self._task = None
            self._let_go()
        if self._state is State.CLOSED:
            self._hub.closed(self)
        elif self._state is State.LINGER:
            return
        elif not whole:
            self.abort()
        elif close:
            self._part(refused=refused)
        else:
            self._advance()

    # Ending.

    def _complain(self, reason: str, status: int, raw: bytes | None = None) -> None:
        """Refuse what is no request, and end."""
        if self._over:
            return
        octets = raw if raw is not None else bytes(self._inbox.bytes[:1024])
        reply = self._site.complain(complaint(octets, self._tunnel, self._incoming, reason, status))
        with suppress(RunOverError):
            if self._wire.handshaking:
                reply.done(0, None)
            else:
                self._answer(reply, close=True)
        self._linger()

    def _tell_broken_off(self, reason: str) -> None:
        """Log a request that began and never became one; a connection that is idle ends without a word."""
        if self._wire.handshaking:
            reason += " (while TLS was set up: it may not trust the run's certificate authority)"
        elif self._state is not State.BODY and (self._state is not State.HEAD or not self._inbox):
            return
        octets = bytes(self._inbox.bytes[:1024])
        self._break_off(octets, reason)

    def _break_off(self, octets: bytes, reason: str) -> None:
        with suppress(RunOverError):
            self._site.broken_off(complaint(octets, self._tunnel, self._incoming, reason, 0))

    def _part(self, *, refused: bool) -> None:
        if refused or self._inbox:
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """Say farewell and read on for a moment: closing with bytes unread would take the answer back.

        See RFC 9112 section 9.6.
        """
        if self._state is State.CLOSED:
            return
        if self._task is None:
            self._let_go()
        self._inbox.clear()
        self._state = State.LINGER
        self.deadline = self._loop.time() + self._limits.linger
        if self._ended:
            self._wire.close()
        else:
            self._wire.farewell()

    def _close(self) -> None:
        self._state = State.CLOSED
        # A client that does not take the rest of its answer is not waited for for ever.
        self.deadline = self._loop.time() + self._limits.write
        self._wire.close()

    def _let_go(self) -> None:
        sink, self._sink = self._sink, None
        self._incoming = self._reader = None
        if sink is not None:
            sink.close()

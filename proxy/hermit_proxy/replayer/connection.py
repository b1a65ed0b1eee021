"""Listens to one client of the proxy: HTTP/1.1 read strictly, in the clear or within TLS inside a tunnel."""

from __future__ import annotations

import asyncio
import math
import traceback
from typing import cast

from hermit_proxy.errors import HermitError
from hermit_proxy.recorder.head import BadHeadError
from hermit_proxy.replayer.answering import Answering, State
from hermit_proxy.replayer.arrival import Arrival, read_request
from hermit_proxy.replayer.site import Incoming, Reply, RunOverError
from hermit_proxy.replayer.wire import Wire, WireError

# What a client may send ahead while its last request is being answered.
_AHEAD = 128 * 1024
# What a refused client may go on sending until it is hung up on.
_PATIENCE = 16 << 20
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HUNG_UP = "the client hung up"


class Connection(Answering, asyncio.Protocol):
    """Is one connection: the half that listens, on top of the one that speaks, where its states are told.

    While an answer is under way what comes waits in a bounded buffer.
    """

    _ignored = 0

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
        if self._state is State.HEAD and not self._waiting and not self._inbox and self._answer_again(data):
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
        request = read_request(raw, self._gate.tunnel)
        if not isinstance(request, Incoming):
            self._gate.connect(self._wire, *request)
            self._state = State.SNIFF
        elif request.has_body:
            self._begin_body(request)
        else:
            self._dispatch(request, None)

    def _begin_body(self, incoming: Incoming) -> None:
        sink = self._site.sink(incoming)
        if isinstance(sink, Reply):
            self._answer(sink, close=True)
            self._linger()
            return
        self._arrival = Arrival(incoming, sink)
        if self._arrival.awaits_word:
            self._wire.write(_CONTINUE)
        self._state = State.BODY
        self.deadline = self._loop.time() + self._limits.progress

    def _take_body(self) -> bool:
        arrival = self._arrival
        if arrival is None:
            return False
        self.deadline = self._loop.time() + self._limits.progress
        if not arrival.read(self._inbox.bytes):
            return False
        self._state = State.HEAD
        self.deadline = math.inf
        self._dispatch(arrival.incoming, arrival.sink)
        return True

    def _sniff(self) -> None:
        came = self._gate.sniff(self._wire, self._inbox)
        self._state = State.HEAD
        if came is not None:
            self.deadline = self._loop.time() + self._limits.head
            self._inbox.bytes += self._decrypt(came)

    def _decrypt(self, data: bytes) -> bytes:
        handshaking = self._wire.handshaking
        try:
            clear = self._wire.decrypt(data)
        except WireError as error:
            self._break_off(b"", f"TLS with the client failed: {self._wire.fault or error}")
            self._linger()
            return b""
        if handshaking and not self._wire.handshaking:
            self.deadline = math.inf
            self._gate.entered(self._wire)
        return clear

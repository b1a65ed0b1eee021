"""Sends one client what it is answered, and ends its connection in order."""

from __future__ import annotations

import asyncio
import math
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import suppress
from enum import Enum
from typing import cast

from hermit_proxy.recorder.head import Tunnel
from hermit_proxy.replayer import delivery
from hermit_proxy.replayer.arrival import Arrival
from hermit_proxy.replayer.gate import Gate
from hermit_proxy.replayer.hub import Hub
from hermit_proxy.replayer.inbox import Inbox, complaint
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.sinks import Sink
from hermit_proxy.replayer.site import Incoming, Reply, RunOverError, Site
from hermit_proxy.replayer.tls import Contexts
from hermit_proxy.replayer.wire import Wire


class State(Enum):
    """Is what the next byte of a client belongs to."""

    HEAD = "a request's head"
    SNIFF = "TLS or not, inside a new tunnel"
    BODY = "a request's body"
    LINGER = "nothing: the client was refused and may read why"
    CLOSED = "nothing"


class Answering(ABC):
    """Is the half of a connection that speaks; the other half, Connection, listens.

    States: HEAD -> (BODY ->) HEAD ..., with an answer under way or not; HEAD -> SNIFF -> HEAD by CONNECT; from each
    to LINGER -> CLOSED or straight to CLOSED.
    """

    def __init__(
        self, hub: Hub, site: Site, limits: Limits, contexts: Contexts | None, tunnel: Tunnel | None = None
    ) -> None:
        """Take where answers come from; `contexts` None means no TLS, `tunnel` what clients are inside of."""
        self._hub = hub
        self._site = site
        self._limits = limits
        self._gate = Gate(site, contexts, tunnel)
        self._state = State.HEAD
        self._inbox = Inbox()
        self._arrival: Arrival | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = False
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

    @property
    def _waiting(self) -> bool:
        return self._task is not None or self._wire.paused

    @property
    def _over(self) -> bool:
        return self._state is State.LINGER or self._state is State.CLOSED

    @property
    def _asked(self) -> Incoming | None:
        return self._arrival.incoming if self._arrival is not None and self._state is State.BODY else None

    @abstractmethod
    def _advance(self) -> None:
        """Do whatever the bytes that are here allow."""

    def _dispatch(self, incoming: Incoming, sink: Sink | None) -> None:
        reply = self._site.respond(incoming, sink)
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

    def _answer_again(self, raw: bytes) -> bool:
        """Answer a request that the site knows by its bytes; tell whether it was one."""
        try:
            octets = self._site.again(raw, self._gate.tunnel)
        except RunOverError:
            return True
        if octets is None:
            return False
        self._wire.write(octets)
        self.idle_since = self._loop.time()
        return True

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
        reply = self._site.complain(complaint(octets, self._gate.tunnel, self._asked, reason, status))
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
            self._site.broken_off(complaint(octets, self._gate.tunnel, self._asked, reason, 0))

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
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            arrival.sink.close()

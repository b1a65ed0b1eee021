"""Answers requests that are known byte by byte: kept-alive clients repeat themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hermit_proxy.policy import Replay
from hermit_proxy.recorder.head import Tunnel
from hermit_proxy.replayer.answer import Answer
from hermit_proxy.replayer.bodies import Bodies, cut
from hermit_proxy.replayer.lines import Asked, Lines
from hermit_proxy.replayer.site import Incoming
from hermit_proxy.run.events import RepeatedEvent
from hermit_proxy.run.session import Session

_MOST = 4096
_MAX_HEAD = 2048


@dataclass(slots=True)
class _Known:
    """Is a request that was answered; head and line are made when it comes for the second time."""

    answer: Answer
    asked: Asked
    decision: Replay
    head: bytes = b""
    line: RepeatedEvent | None = None


class Repeats:
    """Remembers the requests of one epoch: whatever may change a decision begins another (see Session)."""

    def __init__(self, session: Session, lines: Lines, bodies: Bodies) -> None:
        """Take the run, its log, and the bodies that are in memory."""
        self._session = session
        self._lines = lines
        self._bodies = bodies
        self._known: dict[tuple[bytes, Tunnel | None], _Known] = {}
        self._epoch = session.epoch

    def remember(self, incoming: Incoming, answer: Answer, asked: Asked, decision: Replay) -> None:
        """Remember how a request is answered, if its bytes say all of it."""
        if incoming.has_body or not incoming.keep_alive or len(incoming.raw) > _MAX_HEAD:
            return
        self._forget_earlier()
        if len(self._known) >= _MOST:
            self.clear()
        self._known[incoming.raw, incoming.tunnel] = _Known(answer, asked, decision)

    def again(self, raw: bytes, tunnel: Tunnel | None) -> bytes | None:
        """Log and give the whole answer to a request that was answered in this epoch; raise RunOverError."""
        self._forget_earlier()
        known = self._known.get((raw, tunnel))
        if known is None:
            return None
        started, clock = time.time(), time.monotonic()
        answer = known.answer
        body = answer.inline
        if answer.sha256 is not None:
            data = self._bodies.kept(answer.sha256)
            if data is None:
                return None
            body = cut(data, answer)
        if known.line is None:
            known.head = answer.head(close=False)
            known.line = self._lines.repeated(known.asked, known.decision, answer.status, len(body))
        self._lines.again(known.line, started, clock)
        return known.head + body

    def clear(self) -> None:
        """Forget all of them."""
        self._known.clear()

    def _forget_earlier(self) -> None:
        if self._epoch != self._session.epoch:
            self.clear()
            self._epoch = self._session.epoch

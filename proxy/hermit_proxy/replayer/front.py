"""Answers the requests of a hermetic build: from snapshot and store, or with a refusal that says what would help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from concurrent.futures import Executor
from functools import partial

from hermit_proxy.policy import Fetch, Reason, Refuse, Replay
from hermit_proxy.recorder.head import Tunnel
from hermit_proxy.replayer.answer import answer, text
from hermit_proxy.replayer.bodies import Bodies
from hermit_proxy.replayer.internal_host import InternalHost
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.lines import Asked, Lines, shown
from hermit_proxy.replayer.repeats import Repeats
from hermit_proxy.replayer.sinks import TOO_LARGE, Budget, MemorySink, RefusedSink, Sink
from hermit_proxy.replayer.site import Complaint, Incoming, Reply
from hermit_proxy.request.body import BodyTooLargeError, body_digest
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import INTERNAL_HOST
from hermit_proxy.run import refusal
from hermit_proxy.run.events import Outcome
from hermit_proxy.run.session import Session

# These depend on what is asked in the body; all others hold whatever it is.
_BY_BODY = frozenset({Reason.NOT_RECORDED, Reason.UNOBSERVED})
# Digesting more would keep other clients waiting.
_QUICK_BODY = 128 * 1024
_TIMEOUT = 408
_SERVER_ERROR = 500
_HTTP_PORT = 80


class Front:
    """Is the site of hermetic runs."""

    def __init__(self, session: Session, ca_pem: bytes, executor: Executor, limits: Limits) -> None:
        """Take the run, its certificate, and the threads for what blocks."""
        self._session = session
        self._lines = Lines(session)
        self._executor = executor
        self._limits = limits
        self._bodies = Bodies(session.store, executor)
        self._budget = Budget(limits.budget)
        self._internal = InternalHost(
            ca_pem, session.store, executor, upload_limit=session.settings.upload_limit, log=self._lines.internal
        )
        self._hot = Repeats(session, self._lines, self._bodies)

    def again(self, raw: bytes, tunnel: Tunnel | None) -> bytes | None:
        """Answer a request again that was answered in this epoch."""
        return self._hot.again(raw, tunnel)

    def tunnel(self, host: str, _port: int) -> str | None:
        """Let every host be asked for; what is asked of it is decided then."""
        if host == INTERNAL_HOST:
            return f"{INTERNAL_HOST} is asked over plain http: http://{INTERNAL_HOST}/"
        return None

    def sink(self, incoming: Incoming) -> Sink | Reply:
        """Take a body that the request's key needs; read over that of a request which is refused anyhow."""
        if _is_internal(incoming):
            return self._internal.sink(incoming)
        early = self._session.decide(Request(incoming.method, incoming.target, incoming.headers))
        if isinstance(early, Refuse) and early.reason not in _BY_BODY:
            if "expect" in incoming.headers or (incoming.length or 0) > self._limits.body:
                return self._refuse(incoming, early, None)
            return RefusedSink(early, self._limits.body)
        if (incoming.length or 0) > self._limits.body:
            return self._too_large(incoming, f"a body of more than {self._limits.body} bytes")
        return MemorySink(self._budget, self._limits.body)

    def respond(self, incoming: Incoming, sink: Sink | None) -> Reply | Awaitable[Reply]:
        """Answer."""
        if _is_internal(incoming):
            return self._internal.respond(incoming, sink)
        if isinstance(sink, RefusedSink):
            return self._refuse(incoming, sink.refusal, None)
        if isinstance(sink, MemorySink):
            if len(sink.data) > _QUICK_BODY:
                return self._digest_later(incoming, sink)
            return self._digest(incoming, sink)
        return self._decide(incoming, None)

    def complain(self, complaint: Complaint) -> Reply:
        """Answer what is no request; it counts as a failure where the proxy could not, not would not."""
        method, url, reason, status = complaint
        failed = status >= _SERVER_ERROR or status == _TIMEOUT
        words = (refusal.failure_body if failed else refusal.body)(method, url, reason)
        reply_to = text(status, words, "GET", refusal.FAILED_HEADERS if failed else refusal.HEADERS)

        def _done(sent: int, _why: str | None) -> None:
            self._lines.complaint(complaint, Outcome.FAILED if failed else Outcome.REFUSED, sent)

        return Reply(reply_to, words, _done, close=True)

    def broken_off(self, complaint: Complaint) -> None:
        """Log a request that ended early."""
        self._lines.complaint(complaint, Outcome.FAILED, 0)

    def _digest(self, incoming: Incoming, sink: MemorySink) -> Reply | Awaitable[Reply]:
        try:
            return self._decide(incoming, self._body_digest(incoming, sink))
        except BodyTooLargeError as error:
            return self._too_large(incoming, str(error))

    async def _digest_later(self, incoming: Incoming, sink: MemorySink) -> Reply:
        loop = asyncio.get_running_loop()
        try:
            digest = await loop.run_in_executor(self._executor, self._body_digest, incoming, sink)
        except BodyTooLargeError as error:
            return self._too_large(incoming, str(error))
        found = self._decide(incoming, digest)
        return found if isinstance(found, Reply) else await found

    def _body_digest(self, incoming: Incoming, sink: MemorySink) -> str | None:
        headers = incoming.headers
        return body_digest(
            headers.get("content-type"), headers.get("content-encoding"), bytes(sink.data), limit=self._limits.body
        )

    def _decide(self, incoming: Incoming, digest: str | None) -> Reply | Awaitable[Reply]:
        decision = self._session.decide(Request(incoming.method, incoming.target, incoming.headers, digest))
        if isinstance(decision, Refuse):
            return self._refuse(incoming, decision, digest)
        if isinstance(decision, Fetch):
            # The policy never says so in hermetic mode; if it did, there is nothing here that could fetch.
            return self._refuse(incoming, Refuse(Reason.NOT_RECORDED, decision.rule), digest)
        return self._replay(incoming, decision, digest)

    def _replay(self, incoming: Incoming, decision: Replay, digest: str | None) -> Reply | Awaitable[Reply]:
        found = answer(decision.entry, incoming.method, incoming.headers)
        asked = Asked(incoming.method, shown(incoming), digest, decision.rule, decision.entry.id)
        if digest is None:
            self._hot.remember(incoming, found, asked, decision)

        def _done(sent: int, why: str | None) -> None:
            self._lines.replayed(asked, incoming, decision, found.status, sent=sent, why=why)

        return self._bodies.reply(incoming, found, _done, partial(self._lines.failed, asked, incoming))

    def _refuse(self, incoming: Incoming, decision: Refuse, digest: str | None) -> Reply:
        hint = self._session.hint(decision, Request(incoming.method, incoming.target, incoming.headers, digest))
        asked = Asked(incoming.method, shown(incoming), digest, decision.rule)
        words = refusal.body(asked.method, asked.url, decision.reason.value, hint)
        refused = text(refusal.STATUS, words, incoming.method, refusal.HEADERS)

        def _done(sent: int, _why: str | None) -> None:
            self._lines.refused(asked, incoming, decision, hint=hint, sent=sent)

        return Reply(refused, refused.inline, _done)

    def _too_large(self, incoming: Incoming, reason: str) -> Reply:
        return self.complain((incoming.method, shown(incoming), reason, TOO_LARGE))


def _is_internal(incoming: Incoming) -> bool:
    target = incoming.target
    return target.host == INTERNAL_HOST and target.port == _HTTP_PORT and incoming.tunnel is None

"""Keeps what is known of each request from its first byte to its line in the log, which it gets exactly once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hermit_proxy.policy import Fetch, Refuse, Replay
from hermit_proxy.recorder.head import Head
from hermit_proxy.recorder.signatures import redacted
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import Target
from hermit_proxy.rules.file import Rule
from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.snapshot.entry import Entry


@dataclass(frozen=True, slots=True)
class Route:
    """Is where a request may be sent; without one nothing is dialled. `internal` is the proxy's own answer engine."""

    scheme: str
    host: str
    port: int
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """Is why a request ends as refused or failed, and what the client is told if nothing was sent to it yet."""

    outcome: Outcome
    status: int
    reason: str
    hint: str | None = None
    broken: bool = False
    method: str = ""
    url: str = ""


@dataclass(slots=True, eq=False)
class Exchange:
    """Is one request on its way.

    States: open -> (routed -> settling ->) closed: settling is after the last byte of the answer has come, when the
    client may go and the record is still being made. `problem` may come at any time and the first one stays; `outcome`
    is what it ends as if no problem comes. `size` counts body bytes sent to the client, `received` those that came.
    """

    client: str
    method: str
    url: str
    target: Target | None = None
    step: str | None = None
    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)
    request: Request | None = None
    decision: Refuse | Replay | Fetch | None = None
    rule: Rule | None = None
    route: Route | None = None
    upstream: Target | None = None
    outcome: Outcome | None = None
    problem: Problem | None = None
    status: int = 0
    size: int = 0
    received: int = 0
    sha256: str | None = None
    entry: Entry | None = None
    entry_id: str | None = None
    note: str | None = None
    # Why it ends as refused although the client got an answer of the proxy's own, which nothing has to cut off.
    refusal: str | None = None
    answered: bool = False
    settling: bool = False
    closed: bool = False
    # What has to be let go of when the request ends, however it ends.
    cleanups: list[Callable[[], None]] = field(default_factory=list)
    # Waits until more of the answer may be read; None while nothing waits for the store.
    room: Callable[[], Awaitable[None]] | None = None
    # Tells that the connection to upstream broke, instead of being closed.
    broken_off: bool = False
    # Tells that the answer has no length but the connection's end, so that a broken one looks whole.
    until_close: bool = False
    # Tells that upstream was shown a secret.
    credentialed: bool = False

    @property
    def fetch(self) -> Fetch | None:
        """Give the decision if it is to ask upstream and the request is still good."""
        return self.decision if isinstance(self.decision, Fetch) and self.problem is None else None

    def refuse(self, reason: str, *, hint: str | None = None, status: int = 403, broken: bool = True) -> Problem:
        """Say that the request may not be, and give what it ends as."""
        return self._end(Problem(Outcome.REFUSED, status, redacted(reason), hint, broken, self.method, self.url))

    def fail(self, reason: str, *, hint: str | None = None, status: int = 502, broken: bool = False) -> Problem:
        """Say that the request could not be, and give what it ends as; `broken` where the run is worth nothing then."""
        return self._end(Problem(Outcome.FAILED, status, redacted(reason), hint, broken, self.method, self.url))

    def remark(self, text: str) -> None:
        """Note what a reader should know of an answer that was given all the same."""
        self.note = text if self.note is None else f"{self.note}; {text}"

    def event(self) -> RequestEvent:
        """Give the line for the log."""
        problem = self.problem
        outcome = problem.outcome if problem else self.outcome or Outcome.FAILED
        done = outcome in {Outcome.RECORDED, Outcome.PASSED, Outcome.REPLAYED}
        reason = problem.reason if problem else None if done else self.refusal or "it ended without an answer"
        return RequestEvent(
            time=self.started,
            method=self.method,
            url=self.url,
            outcome=outcome,
            status=self.status or (problem.status if problem else 0),
            duration=round(time.monotonic() - self.clock, 6),
            size=self.size,
            sha256=self.sha256 if done else None,
            step=self.step,
            rule=self.rule.pattern.text if self.rule else None,
            action=self.rule.action.name if self.rule else None,
            reason=reason,
            hint=problem.hint if problem else None,
            broken=bool(problem and problem.broken),
            note=self.note,
            body=self.request.body if self.request else None,
            entry_id=self.entry_id,
            entry=self.entry if outcome is Outcome.RECORDED or (done and self.entry and self.entry.stand_in) else None,
        )

    def _end(self, problem: Problem) -> Problem:
        if self.problem is None:
            self.problem = problem
        return self.problem


class Exchanges:
    """Holds the open exchanges, at most one for each client connection (HTTP/1.1 without overtaking)."""

    def __init__(self, log: Callable[[RequestEvent], None], step: Callable[[], str | None]) -> None:
        """Take where lines go and what names the step that is running."""
        self._log = log
        self._step = step
        self._current: dict[str, Exchange] = {}
        self._tunnels: dict[str, str] = {}
        self._heads: dict[str, Head] = {}
        # Why the last answer of a connection was none: mitmproxy asks for it after the exchange has been closed.
        self._problems: dict[str, Problem] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def expect(self, client: str, head: Head) -> None:
        """Take the head that was read strictly; the exchange that mitmproxy reports next is made from it."""
        self._heads[client] = head

    def expected(self, client: str) -> Head | None:
        """Give the head that was read last on a connection, once."""
        return self._heads.pop(client, None)

    def peek(self, client: str) -> Head | None:
        """Give the same without taking it."""
        return self._heads.get(client)

    def open(self, client: str, method: str, url: str, target: Target | None = None) -> Exchange:
        """Begin an exchange; one that is still open on that connection ends first."""
        self.abandon(client, "the next request came before it was answered")
        exchange = Exchange(client, method, redacted(url), target, self._step())
        self._current[client] = exchange
        self._problems.pop(client, None)
        self._idle.clear()
        return exchange

    def current(self, client: str) -> Exchange | None:
        """Give the open exchange of a connection."""
        return self._current.get(client)

    def close(self, exchange: Exchange) -> None:
        """Write the line and let go; closing twice writes nothing."""
        if exchange.closed:
            return
        exchange.closed = True
        if self._current.get(exchange.client) is exchange:
            del self._current[exchange.client]
        if exchange.problem is not None:
            self._problems[exchange.client] = exchange.problem
        try:
            for cleanup in exchange.cleanups:
                cleanup()
        finally:
            if not self._current:
                self._idle.set()
            self._log(exchange.event())

    def abandon(self, client: str, reason: str) -> None:
        """Close what is open on a connection that ends, but for what has come whole."""
        exchange = self._current.get(client)
        if exchange is None or exchange.settling:
            return
        if exchange.answered and exchange.outcome is Outcome.REPLAYED:
            exchange.remark(reason)
        else:
            exchange.fail(reason)
        self.close(exchange)

    def problem(self, client: str) -> Problem | None:
        """Give why a connection's open request, or else its last one, was not answered."""
        exchange = self._current.get(client)
        return exchange.problem if exchange is not None else self._problems.get(client)

    def mark_tunnel(self, client: str, fault: str) -> None:
        """Have every request in a connection's tunnel refused."""
        self._tunnels[client] = fault

    def tunnel_fault(self, client: str) -> str | None:
        """Give what is wrong with a connection's tunnel."""
        return self._tunnels.get(client)

    def forget(self, client: str) -> None:
        """Drop what is known of a connection that has ended."""
        self._tunnels.pop(client, None)
        self._heads.pop(client, None)
        self._problems.pop(client, None)

    def open_exchanges(self) -> tuple[Exchange, ...]:
        """Give what is under way."""
        return tuple(self._current.values())

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        await self._idle.wait()

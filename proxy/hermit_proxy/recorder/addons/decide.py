"""Asks the policy about each request, and sends it on only where the policy says so."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from mitmproxy import http

from hermit_proxy.policy import Fetch, Refuse, Replay
from hermit_proxy.recorder.addons.intake import route_to_engine
from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.recorder.shared import Shared
from hermit_proxy.recorder.signatures import secret_parameters
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import BadTargetError, parse_url
from hermit_proxy.rules.file import Rule
from hermit_proxy.snapshot.entry import Entry


class Decide:
    """Runs after the intake; nothing else sets a decision."""

    def __init__(self, shared: Shared) -> None:
        """Take the recorder."""
        self._shared = shared

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Refuse, replay or let fetch; give what waits for whoever is fetching the same, if anybody is."""
        exchange = self._shared.open_exchange(flow)
        if exchange is None or exchange.request is None:
            return None
        led = self._settle(flow, exchange, exchange.request)
        return None if led is None else self._wait(flow, exchange, exchange.request, led)

    def _settle(self, flow: http.HTTPFlow, exchange: Exchange, request: Request) -> Fetch | None:
        """Decide once; give the decision where another request has the lead."""
        decision = self._shared.session.decide(request)
        exchange.decision, exchange.rule = decision, decision.rule
        if isinstance(decision, Refuse):
            hint = self._shared.session.hint(decision, request)
            exchange.refuse(decision.reason.value, hint=hint, broken=decision.broken)
        elif isinstance(decision, Replay):
            self._replay(flow, exchange, decision.entry, decision.rule)
        elif not self._objects(exchange, decision) and decision.keep:
            land = self._shared.flights.lead(request, decision.key_url)
            if land is None:
                return decision
            exchange.cleanups.append(partial(land, exchange))
        return None

    async def _wait(self, flow: http.HTTPFlow, exchange: Exchange, request: Request, led: Fetch) -> None:
        """Wait for the one that leads; where it gives nothing that answers, the question is a new one."""
        decision: Fetch | None = led
        while decision is not None:
            ended, entry = await self._shared.flights.wait(request, decision.key_url)
            # A step may have ended meanwhile: what it left running is decided on anew.
            if self._shared.session.online:
                if entry is not None:
                    self._replay(flow, exchange, entry, decision.rule)
                if entry is not None or not ended:
                    return
            decision = self._settle(flow, exchange, request)

    def _replay(self, flow: http.HTTPFlow, exchange: Exchange, entry: Entry, rule: Rule) -> None:
        exchange.decision = Replay(entry, rule)
        exchange.entry_id = entry.id
        exchange.sha256 = entry.sha256
        route_to_engine(flow, exchange, self._shared.engine.url_for(entry))

    @staticmethod
    def _objects(exchange: Exchange, decision: Fetch) -> bool:
        try:
            found = secret_parameters(parse_url(decision.key_url).query)
        except BadTargetError as error:
            exchange.refuse(f"its key is not a URL: {error}")
            return True
        if found:
            names = ", ".join(found)
            exchange.refuse(
                f"its query has what looks like a credential ({names}), which would be recorded",
                hint=f"`query: ignore`, or `query: [names]` without {names}, at the rule in line {decision.rule.line}",
            )
        return bool(found)

"""Cuts signatures out of redirects and puts them back upstream (docs/decisions/signed-redirects.md)."""

from __future__ import annotations

from urllib.parse import urljoin

from mitmproxy import http

from hermit_proxy.policy import Fetch, Refuse
from hermit_proxy.recorder.capture import USER_INFO
from hermit_proxy.recorder.exchange import Exchange, Route
from hermit_proxy.recorder.shared import Shared, same_place
from hermit_proxy.recorder.signatures import FOLD_MARK, folded, without_signature
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import BadTargetError, Target, parse_url
from hermit_proxy.rules.file import Action

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Redirects:
    """Runs after the decision: what it restores has the host and path that were decided on, or is decided on here."""

    def __init__(self, shared: Shared) -> None:
        """Take the recorder."""
        self._shared = shared

    def request(self, flow: http.HTTPFlow) -> None:
        """Find out what to ask upstream for."""
        exchange = self._shared.open_exchange(flow)
        if exchange is None or exchange.fetch is None or exchange.target is None:
            return
        real = self._shared.aliases.real(exchange.target)
        exchange.upstream = real or exchange.target
        if real is not None and not same_place(real, exchange.target) and not self._admitted(exchange, real):
            return
        exchange.route = Route(exchange.upstream.scheme, exchange.upstream.host, exchange.upstream.port)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Give the client a Location that may be recorded."""
        exchange = self._shared.open_exchange(flow)
        if exchange is None or exchange.fetch is None or flow.response is None or exchange.upstream is None:
            return
        location = flow.response.headers.get("location")
        if location is None:
            return
        try:
            real = parse_url(urljoin(exchange.upstream.url, location.partition("#")[0]))
        except (BadTargetError, ValueError):
            if USER_INFO.search(location) and exchange.fetch.keep:
                exchange.fail("its Location names a user or a password, and cannot be recorded")
            return
        cut = without_signature(real)
        if exchange.fetch.rule.fold_redirect and flow.response.status_code in _REDIRECTS:
            self._fold(flow.response, exchange, exchange.fetch, real)
        elif cut is not None:
            self._shared.aliases.add(cut, real)
            flow.response.headers["location"] = cut.url
            exchange.remark("a signature was cut out of Location")

    def _fold(self, response: http.Response, exchange: Exchange, fetch: Fetch, real: Target) -> None:
        first = exchange.target
        if first is None or FOLD_MARK in (first.query or ""):
            exchange.fail("a folded redirect leads to another redirect", hint="take `fold_redirect` off the rule")
            return
        alias = folded(first)
        if fetch.rule.key_url(alias) == fetch.key_url:
            exchange.fail("`fold_redirect` needs a query that is part of the key", hint="`query: keep` at the rule")
            return
        self._shared.aliases.add(alias, real)
        response.headers["location"] = alias.url
        exchange.remark(f"the redirect to {real.host} was folded")

    def _admitted(self, exchange: Exchange, real: Target) -> bool:
        """Have the target of a folded redirect judged as if the client had asked for it."""
        request = Request(exchange.method, real, exchange.request.headers if exchange.request else {})
        decision = self._shared.session.decide(request)
        if isinstance(decision, Refuse):
            hint = self._shared.session.hint(decision, request)
            exchange.refuse(f"it is redirected to {real.host}: {decision.reason.value}", hint=hint)
            return False
        kept = exchange.fetch is not None and exchange.fetch.keep
        if decision.rule.action is Action.LOCKED or (kept and decision.rule.action is Action.NO_STORE):
            exchange.refuse(f"it is redirected to {real.host}, whose rule does not let it be fetched and recorded")
            return False
        return True

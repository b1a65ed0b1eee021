"""Gives every request its answer, if none came from elsewhere, and its line in the log."""

from __future__ import annotations

from mitmproxy import connection, http

from hermit_proxy.recorder.answers import response
from hermit_proxy.recorder.shared import Shared, kill


class Report:
    """Runs last at every event."""

    def __init__(self, shared: Shared) -> None:
        """Take the recorder."""
        self._shared = shared

    def request(self, flow: http.HTTPFlow) -> None:
        """Answer what was refused; what nobody has routed goes nowhere."""
        exchange = self._shared.exchange(flow)
        if exchange is None:
            raise RuntimeError("a request without an exchange")
        if exchange.problem is None and exchange.route is None:
            exchange.fail("nothing was decided about it", hint="a fault of Hermit: please report it")
        if exchange.problem is not None and not flow.request.stream:
            flow.response = response(exchange.problem)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let no head through that belongs to a problem; the strict server says why instead."""
        exchange = self._shared.exchange(flow)
        if exchange is None or flow.response is None:
            raise RuntimeError("an answer without an exchange")
        if exchange.problem is not None and exchange.route is not None:
            kill(flow)
            return
        exchange.status = flow.response.status_code
        exchange.answered = True

    def response(self, flow: http.HTTPFlow) -> None:
        """Close the exchange; an answer that has turned out bad must not end as if it were good."""
        exchange = self._shared.exchange(flow)
        if exchange is None:
            raise RuntimeError("an answer without an exchange")
        if exchange.problem is not None and exchange.route is not None:
            kill(flow)
        if exchange.route is None and flow.response is not None:
            exchange.size = len(flow.response.raw_content or b"")
        self._shared.exchanges.close(exchange)

    def error(self, flow: http.HTTPFlow) -> None:
        """Close an exchange that mitmproxy gave up."""
        exchange = self._shared.exchange(flow)
        if exchange is not None:
            message = flow.error.msg if flow.error is not None else "no reason given"
            if message == "Client disconnected.":
                self._shared.exchanges.abandon(flow.client_conn.id, "the client went away before it had the answer")
                return
            exchange.fail(message)
            self._shared.exchanges.close(exchange)

    def client_disconnected(self, client: connection.Client) -> None:
        """Close what mitmproxy has forgotten."""
        self._shared.exchanges.abandon(client.id, "the client went away before it had the answer")
        self._shared.exchanges.forget(client.id)

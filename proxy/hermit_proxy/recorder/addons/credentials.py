"""Adds the credential that a rule names, and keeps every answer from the client that shows a secret."""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from hermit_proxy.credentials.bindings import CredentialError
from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.recorder.shared import Shared, same_place


class Credentials:
    """Runs after the redirects, which know what is asked upstream."""

    def __init__(self, shared: Shared) -> None:
        """Take the recorder."""
        self._shared = shared

    def request(self, flow: http.HTTPFlow) -> None:
        """Add the header, in place of the client's own; not to what a redirect was folded into."""
        exchange = self._shared.open_exchange(flow)
        if exchange is None or exchange.fetch is None or exchange.upstream is None or exchange.target is None:
            return
        if not _carries(exchange):
            return
        try:
            name, value = self._shared.bindings.header_for(exchange.fetch.rule, exchange.method, exchange.target)
        except CredentialError as error:
            exchange.refuse(str(error), hint="bind it in credentials.yaml, or take it off the rule")
            return
        flow.request.headers[name] = value
        exchange.credentialed = True


class Reflections:
    """Runs before whatever changes an answer's head: cutting a signature could take half of a secret along."""

    def __init__(self, shared: Shared) -> None:
        """Take the recorder."""
        self._shared = shared

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Look at the head of every answer from upstream; the body is looked at where it passes."""
        exchange = self._shared.open_exchange(flow)
        bindings = self._shared.bindings
        if exchange is None or exchange.fetch is None or flow.response is None or not bindings:
            return
        headers = flow.response.headers
        head = b"\n".join(b"%s: %s" % field for field in headers.fields)
        if bindings.leaks(head + b"\n" + flow.response.data.reason):
            exchange.refuse("the answer's head contains a secret", hint="look at what the server sends back")
        elif exchange.credentialed and _is_encoded(flow.request, flow.response):
            exchange.refuse(
                "the answer to a request with a credential is compressed: nobody can see whether a secret is in it",
                hint="have the server heed `Accept-Encoding: identity`",
            )


def _carries(exchange: Exchange) -> bool:
    """Tell whether a request gets a credential: where its rule names one, and not where a redirect was folded."""
    if exchange.fetch is None or exchange.upstream is None or exchange.target is None:
        return False
    return exchange.fetch.rule.credential is not None and same_place(exchange.upstream, exchange.target)


def _is_encoded(request: http.Request, response: http.Response) -> bool:
    codings = {coding.strip().lower() for coding in response.headers.get("content-encoding", "").split(",")}
    return bool(codings - {"", "identity"}) and expected_http_body_size(request, response) != 0

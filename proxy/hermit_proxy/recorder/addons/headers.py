"""Sends upstream a request that has one answer, and gives the client a head that is framed beyond doubt."""

from __future__ import annotations

import re

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size

from hermit_proxy.recorder.addons.intake import point
from hermit_proxy.recorder.shared import Shared

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"upgrade", b"http2-settings"}
)
# Parts and conditions make an answer that is not the thing itself (WIRE rows 7, 8), an encoding makes two of one.
_CUT = frozenset(
    {b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
    | {b"accept-encoding"}
)
# They would lead a client off this wire.
_CUT_ANSWER = frozenset({b"alt-svc"})
# Who names these in Connection would have the message read in another way.
_NEVER_CUT = frozenset({"", "close", "host", "content-length", "transfer-encoding"})
_UNFIT_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FINAL = 200
_VERSIONS = frozenset({"HTTP/1.0", "HTTP/1.1"})


class Headers:
    """Runs when the route is known."""

    def __init__(self, shared: Shared) -> None:
        """Take the recorder."""
        self._shared = shared

    def request(self, flow: http.HTTPFlow) -> None:
        """Write the request for upstream in the normalised form that was decided on."""
        exchange = self._shared.open_exchange(flow)
        if exchange is None:
            return
        headers = flow.request.headers
        _cut_hop_by_hop(headers)
        if exchange.fetch is None or exchange.upstream is None or exchange.route is None:
            return
        _cut(headers, _CUT)
        headers["accept-encoding"] = "identity"
        headers["host"] = exchange.upstream.authority
        if headers.pop("transfer-encoding", None) is not None or flow.request.raw_content:
            headers["content-length"] = str(len(flow.request.raw_content or b""))
        point(flow, exchange.route, exchange.upstream.request_target)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse heads that clients could read in two ways, and frame what has no length."""
        exchange = self._shared.open_exchange(flow)
        response = flow.response
        if exchange is None or response is None or exchange.route is None:
            return
        if any(_UNFIT_VALUE.search(value) for _, value in (*response.headers.fields, (b"", response.data.reason))):
            exchange.fail("the server's head has control characters or folded lines in it")
            return
        if not _FINAL <= response.status_code <= 599:  # noqa: PLR2004  the last status that has a meaning
            exchange.fail(f"the server answered {response.status_code}, which is no final answer")
            return
        if response.http_version not in _VERSIONS:
            exchange.fail("the server speaks a version of HTTP that was not asked for")
            return
        if response.headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            exchange.fail("the server uses a transfer coding that was not asked for")
            return
        unknown = expected_http_body_size(flow.request, response) == -1
        _cut_hop_by_hop(response.headers)
        _cut(response.headers, _CUT_ANSWER)
        exchange.until_close = unknown
        if unknown and flow.request.http_version == "HTTP/1.1":
            # So that a client can tell the end from a broken connection.
            response.headers["transfer-encoding"] = "chunked"


def _cut_hop_by_hop(headers: http.Headers) -> None:
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    _cut(headers, _HOP_BY_HOP | {token.encode("utf-8", "surrogateescape") for token in tokens - _NEVER_CUT})
    if "close" in tokens:
        headers["connection"] = "close"


def _cut(headers: http.Headers, names: frozenset[bytes]) -> None:
    """Cut all fields of these names in one pass: mitmproxy's own `pop` looks at all of them for each name."""
    headers.fields = tuple(field for field in headers.fields if field[0].lower() not in names)

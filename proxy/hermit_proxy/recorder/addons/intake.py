"""Turns what the strict reader has found into an exchange and a request of the core."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from mitmproxy import http

from hermit_proxy.recorder import capture
from hermit_proxy.recorder.answers import response
from hermit_proxy.recorder.exchange import Exchange, Problem, Route
from hermit_proxy.recorder.head import BadHeadError, Head, Tunnel, is_internal
from hermit_proxy.recorder.shared import Shared
from hermit_proxy.request.body import BODY_LIMIT, BodyTooLargeError, body_digest
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import INTERNAL_HOST, parse_url

_SHOWN = 200


class Intake:
    """Is both the first addon and the observer of the strict reader."""

    def __init__(self, shared: Shared, upload_limit: int) -> None:
        """Take the recorder and how many bytes may be uploaded to hermit.internal."""
        self._shared = shared
        self._upload_limit = upload_limit

    def head_read(self, client: str, head: Head) -> None:
        """Keep a head for the hook that comes next."""
        self._shared.exchanges.expect(client, head)

    def head_refused(self, client: str, tunnel: Tunnel | None, raw: bytes, error: BadHeadError) -> Problem:
        """Log a request that was nothing but a refused head, and give the answer."""
        first = raw.partition(b"\r\n")[0].decode("ascii", "backslashreplace")[:_SHOWN]
        method, _, rest = first.partition(" ")
        where = f"{'https' if tunnel.tls else 'http'}://{tunnel.host}:{tunnel.port}" if tunnel else ""
        exchange = self._shared.exchanges.open(client, method[:32], f"{where}{rest.partition(' ')[0]}")
        problem = exchange.refuse(str(error), status=error.status)
        self._shared.exchanges.close(exchange)
        return problem

    def tunnel_fault(self, client: str) -> str | None:
        """Say what is wrong with a client's tunnel."""
        return self._shared.exchanges.tunnel_fault(client)

    def problem(self, client: str) -> Problem | None:
        """Give why the client's request is not answered."""
        return self._shared.exchanges.problem(client)

    def body_limit(self, client: str) -> int:
        """Bound uploads by the setting, everything else by what can be digested in memory."""
        head, exchange = self._shared.exchanges.peek(client), self._shared.exchanges.current(client)
        target = head.target if head is not None else exchange.target if exchange is not None else None
        internal = target is not None and is_internal(target)
        # Chunk sizes and the head count as well.
        return (self._upload_limit if internal else BODY_LIMIT) + (1 << 16)

    def body_refused(self, client: str, status: int, reason: str) -> Problem:
        """Refuse a body; it may have come before the hook that opens the exchange has run."""
        exchange = self._shared.exchanges.current(client)
        if exchange is None:
            head = self._shared.exchanges.peek(client)
            exchange = self._open(client, head) if head is not None and head.target is not None else None
        if exchange is None:
            raise RuntimeError("the body of no request")
        return exchange.refuse(reason, status=status)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Open a tunnel to the normalised host; what is asked inside is decided there."""
        head = self._head(flow)
        if head.connect is None:
            raise RuntimeError("a tunnel without a CONNECT")
        flow.request.data.host, flow.request.data.port = head.connect
        if head.connect[0] == INTERNAL_HOST:
            exchange = self._shared.exchanges.open(flow.client_conn.id, "CONNECT", f"https://{INTERNAL_HOST}/")
            hint = f"http://{INTERNAL_HOST}/"
            flow.response = response(exchange.refuse(f"{INTERNAL_HOST} is asked over plain http", hint=hint))
            self._shared.exchanges.close(exchange)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Open the exchange."""
        head = self._head(flow)
        if head.target is None:
            raise RuntimeError("a request without a target")
        early = self._shared.exchanges.current(flow.client_conn.id)
        exchange = early if early is not None and early.problem is not None else self._open(flow.client_conn.id, head)
        self._shared.attach(flow, exchange)
        exchange.cleanups.append(partial(_let_go, flow))
        if flow.error is not None:
            exchange.refuse(flow.error.msg, status=400)
        elif head.target.host == INTERNAL_HOST:
            self._to_internal_host(flow, exchange)

    def request(self, flow: http.HTTPFlow) -> None:
        """Make the request that the policy is asked about, with the digest of its body."""
        exchange = self._shared.open_exchange(flow)
        if exchange is None or exchange.route is not None or exchange.target is None:
            return
        headers = capture.joined(flow.request.headers.fields)
        body = flow.request.raw_content or b""
        try:
            digest = body_digest(headers.get("content-type"), headers.get("content-encoding"), body)
        except BodyTooLargeError as error:
            exchange.refuse(str(error), status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        exchange.request = Request(exchange.method, exchange.target, headers, digest)

    def _to_internal_host(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        target = exchange.target
        if target is None or not is_internal(target):
            exchange.refuse(f"{INTERNAL_HOST} is asked over plain http", hint=f"http://{INTERNAL_HOST}/")
            return
        route_to_engine(flow, exchange, self._shared.engine.url_for_internal_host(target.request_target))
        flow.request.stream = True

    def _open(self, client: str, head: Head) -> Exchange:
        url = head.target.url if head.target is not None else ""
        return self._shared.exchanges.open(client, head.method, url, head.target)

    def _head(self, flow: http.HTTPFlow) -> Head:
        head = self._shared.exchanges.expected(flow.client_conn.id)
        if head is None:
            raise RuntimeError("a request that nobody read")
        return head


def _let_go(flow: http.HTTPFlow) -> None:
    # mitmproxy's objects hold each other until the garbage collector comes, which does not count bytes.
    flow.request.data.content = None


def route_to_engine(flow: http.HTTPFlow, exchange: Exchange, url: str) -> None:
    """Point a flow at the proxy's own answer engine."""
    engine = parse_url(url)
    exchange.route = Route(engine.scheme, engine.host, engine.port, internal=True)
    point(flow, exchange.route, engine.request_target)
    flow.request.headers["host"] = engine.authority


def point(flow: http.HTTPFlow, route: Route, request_target: str) -> None:
    """Point a flow at a route."""
    flow.request.data.host, flow.request.data.port = route.host, route.port
    flow.request.data.scheme = route.scheme.encode()
    flow.request.data.path = request_target.encode("ascii")
    flow.request.data.authority = b""

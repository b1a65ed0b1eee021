"""Gives both ends of a tunnel their TLS: to the client a leaf of the run's CA, to upstream one verifier."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from mitmproxy import http, tls

from hermit_proxy.recorder.endpoint import TlsEndpoint
from hermit_proxy.recorder.shared import Shared

_MAX_SESSIONS = 256
# Servers give tickets that hold for some minutes.
_SESSION_SECONDS = 60.0


def upstream_context(trust: Path | None) -> ssl.SSLContext:
    """Make the context that verifies servers against a bundle, or against the system's where there is none."""
    context = ssl.create_default_context(cafile=str(trust) if trust is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Certificates:
    """Answers mitmproxy's questions for TLS connections; without an answer it ends the connection."""

    def __init__(self, shared: Shared, upstream: ssl.SSLContext, for_host: Callable[[str], ssl.SSLContext]) -> None:
        """Take the context for servers, and what makes the context for a host that clients ask for."""
        self._shared = shared
        self._upstream = upstream
        self._for_host = for_host
        # By host and port: what was verified is a name, and a session goes on with it.
        self._sessions: dict[tuple[str, int], tuple[float, ssl.SSLSession | None]] = {}

    def tls_start_client(self, data: tls.TlsData) -> None:
        """Speak as the host that the client believes in: the one of its ClientHello, or else of CONNECT."""
        address = data.context.server.address
        host = data.context.client.sni or (address[0] if address else None)
        if host is not None:
            data.ssl_conn = TlsEndpoint(self._for_host(host), server_side=True)  # type: ignore[assignment]  # see endpoint

    def tls_start_server(self, data: tls.TlsData) -> None:
        """Verify the host that the request is for, whatever address it was dialled at."""
        address = data.context.server.address
        if address is not None:
            data.conn.sni = address[0]
            _, session = self._sessions.get((address[0], address[1]), (0.0, None))
            endpoint = TlsEndpoint(self._upstream, server_side=False, server_hostname=address[0], session=session)
            self._shared.connections[data.context.client.id].watch(data.conn, endpoint)
            data.ssl_conn = endpoint  # type: ignore[assignment]  # see endpoint

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Keep a connection's session, for others to the same server: its tickets have come by now.

        npm makes a connection for each request, and a resumed handshake has no chain to verify.
        """
        server = flow.server_conn
        if not server.tls or server.address is None:
            return
        place, now = (server.address[0], server.address[1]), time.monotonic()
        known = self._sessions.get(place)
        endpoint = self._shared.connections[flow.client_conn.id].endpoint(server)
        # To copy one takes as long as to verify a chain.
        if endpoint is None or (known is not None and now - known[0] < _SESSION_SECONDS):
            return
        session = endpoint.session
        if session is not None:
            if len(self._sessions) >= _MAX_SESSIONS:
                self._sessions.clear()
            self._sessions[place] = (now, session)

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """Say what was wrong with the server."""
        exchange = self._shared.exchanges.current(data.context.client.id)
        address = data.context.server.address
        if address is not None and (place := (address[0], address[1])) in self._sessions:
            # Some servers take a session up and then fail: with those each handshake is a whole one from now on.
            self._sessions[place] = (math.inf, None)
        if exchange is not None and address is not None:
            hint = "if its authority is the right one: the setting upstream.trust"
            exchange.fail(f"TLS with {address[0]}:{address[1]}: {_words(data.conn.error)}", hint=hint)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Log a client that does not trust the run's CA: it is the first thing that people look for."""
        address = data.context.server.address
        if address is None or self._shared.exchanges.current(data.context.client.id) is not None:
            return
        exchange = self._shared.exchanges.open(data.context.client.id, "CONNECT", f"https://{address[0]}:{address[1]}/")
        exchange.fail(
            f"the client ended the TLS handshake: {_words(data.conn.error)}",
            hint="the client has to trust the run's CA (ca.pem); see the trust settings of `hermit run`",
        )
        self._shared.exchanges.close(exchange)


def _words(error: str | None) -> str:
    return (error or "no reason given").removeprefix("OpenSSL Error('").removesuffix("')")

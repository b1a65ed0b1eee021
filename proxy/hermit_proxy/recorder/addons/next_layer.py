"""Chooses what is spoken on a connection: strict HTTP/1.1, at most one tunnel of TLS, and nothing else ever."""

from __future__ import annotations

from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.tls import ClientTLSLayer
from mitmproxy.tls import ClientHelloData

from hermit_proxy.recorder.inplace import ClientTLS
from hermit_proxy.recorder.shared import Shared
from hermit_proxy.recorder.strict_http import Observer, strict_layer
from hermit_proxy.request.target import BadTargetError, parse_host

_TLS_RECORD = b"\x16"


class NextLayer:
    """Sets the next layer; without one mitmproxy waits, so there always is one."""

    def __init__(self, shared: Shared, observer: Observer) -> None:
        """Take the recorder, and who learns of request heads."""
        self._shared = shared
        self._observer = observer

    def next_layer(self, data: layer.NextLayer) -> None:
        """Choose by where the connection stands and by its first octet."""
        context = data.context
        register = self._shared.connections[context.client.id].register
        in_tunnel = context.server.address is not None
        in_tls = any(isinstance(below, ClientTLSLayer) for below in context.layers)
        if in_tunnel and not in_tls and data.data_client()[:1] == _TLS_RECORD:  # type: ignore[no-untyped-call]  # mitmproxy is half typed
            # Requests inside go upstream over TLS as well, on connections that are dialled when they are decided on.
            context.server.tls = True
            data.layer = ClientTLS(context)
        else:
            mode = HTTPMode.transparent if in_tunnel else HTTPMode.regular
            data.layer = strict_layer(context, mode, self._observer, register)

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Hold the name in the ClientHello against the one of CONNECT; requests inside are answered with the reason."""
        sni, address = data.client_hello.sni, data.context.server.address
        if sni is None or address is None:
            return
        try:
            agrees = parse_host(sni) == address[0]
        except BadTargetError:
            agrees = False
        if not agrees:
            fault = f"CONNECT and SNI disagree: {address[0]!r} and {sni[:260]!r}"
            self._shared.exchanges.mark_tunnel(data.context.client.id, fault)

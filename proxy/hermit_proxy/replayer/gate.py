"""Leads a client from its CONNECT to the first request inside of the tunnel: in clear, or through TLS."""

from __future__ import annotations

from dataclasses import replace

from hermit_proxy.recorder.head import BadHeadError, Tunnel
from hermit_proxy.replayer.inbox import Inbox
from hermit_proxy.replayer.site import Site
from hermit_proxy.replayer.tls import Contexts
from hermit_proxy.replayer.wire import Wire

_TLS_RECORD = 0x16
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Gate:
    """Is at the head of one connection; `tunnel` is what the client is inside of.

    States: outside -> agreed -> inside in clear, or shaking hands -> inside of TLS.
    """

    def __init__(self, site: Site, contexts: Contexts | None, tunnel: Tunnel | None) -> None:
        """Take who says where tunnels lead; `contexts` None means no TLS, `tunnel` that it is inside from the start."""
        self._site = site
        self._contexts = contexts
        self.tunnel = tunnel

    def connect(self, wire: Wire, host: str, port: int) -> None:
        """Agree on a tunnel, or raise BadHeadError."""
        reason = self._site.tunnel(host, port)
        if reason is not None or self._contexts is None:
            raise BadHeadError(403, reason or "no tunnels here")
        wire.write(_ESTABLISHED)
        self.tunnel = Tunnel(host, port, tls=True)

    def sniff(self, wire: Wire, inbox: Inbox) -> bytes | None:
        """See by the first byte inside whether TLS begins there, and give all of its bytes if so."""
        if self.tunnel is None or self._contexts is None:
            raise BadHeadError(400, "a tunnel to nowhere")
        if inbox.bytes[0] != _TLS_RECORD:
            self.tunnel = replace(self.tunnel, tls=False)
            return None
        came = bytes(inbox.bytes)
        inbox.clear()
        wire.start_tls(self._contexts, self.tunnel.host)
        return came

    def entered(self, wire: Wire) -> None:
        """Hold it against the tunnel if TLS, whose handshake has ended, names another host."""
        if self.tunnel is not None and wire.fault is not None:
            self.tunnel = replace(self.tunnel, fault=wire.fault)

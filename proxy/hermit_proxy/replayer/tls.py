"""Ends the TLS of a build's clients with the certificates of the run, without sockets: bytes in, bytes out."""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from contextlib import suppress

from hermit_proxy.request.target import BadTargetError, parse_host
from hermit_proxy.run.ca import RunCA

# Each costs some ten kilobytes in OpenSSL; builds speak to some dozens of hosts.
_MAX_CONTEXTS = 256
# OpenSSL gives one record, of at most 16 KiB, at a time.
_READ = 16 * 1024
_ALPN = ["http/1.1"]


class End(ssl.SSLObject):
    """Is the server's end; `fault` says that the client named another host (SNI) than its CONNECT."""

    fault: str | None = None
    asked: str | None = None


class Contexts:
    """Gives the context that shows a host's certificate."""

    def __init__(self, ca: RunCA) -> None:
        """Take the run's authority."""
        self._ca = ca
        self._known: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    def for_host(self, host: str) -> ssl.SSLContext:
        """Give the context of a normalised host, made at the first call."""
        known = self._known.get(host)
        if known is not None:
            self._known.move_to_end(host)
            return known
        context = self._known[host] = self._make(host)
        while len(self._known) > _MAX_CONTEXTS:
            self._known.popitem(last=False)
        return context

    def _make(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = End
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(_ALPN)
        _load(context, self._ca.leaf(host))

        def _named(end: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
            return self._check(end, name, host)

        context.sni_callback = _named
        return context

    def _check(self, end: ssl.SSLObject, name: str | None, host: str) -> int | None:
        if name is None or not isinstance(end, End):
            return None  # Clients name no host where they ask for an address.
        try:
            asked = parse_host(name)
        except BadTargetError:
            end.fault = "a server name in TLS that is no host name"
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if asked != host:
            end.fault = f"CONNECT names {host}, TLS names {asked}"
            # With the certificate that it expects the client gets to read why it is refused.
            end.context = self.for_host(asked)
        return None


class Tls:
    """Is one TLS connection between two buffers."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Begin before the first byte."""
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        end = context.wrap_bio(self._in, self._out, server_side=True)
        if not isinstance(end, End):
            raise TypeError("a context that is not of Contexts")
        self._end = end
        self.open = False
        self.ended = False

    @property
    def fault(self) -> str | None:
        """Say what is wrong with the server's name that the client sent."""
        return self._end.fault

    def feed(self, data: bytes) -> bytes:
        """Take what came and give what it says in clear; raise ssl.SSLError for what is not TLS.

        `pending` may have something to send afterwards, after an error too. `open` becomes true with the end of the
        handshake, `ended` when the client has said that nothing more comes.
        """
        parts: list[bytes] = []
        self._in.write(data)
        try:
            if not self.open:
                self._end.do_handshake()
                self.open = True
            while part := self._end.read(_READ):
                parts.append(part)
                if not self._in.pending and not self._end.pending():
                    break
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, data: bytes) -> bytes:
        """Give what has to be sent so that the client reads `data`."""
        self._end.write(data)
        return self._out.read()

    def pending(self) -> bytes:
        """Give what TLS itself has to send."""
        return self._out.read()

    def close(self) -> bytes:
        """Give the farewell (close_notify)."""
        with suppress(ssl.SSLError, ValueError):  # The client's farewell is not waited for.
            self._end.unwrap()
        return self._out.read()


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load certificate and key, for which ssl wants a file, from memory."""
    fd = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)

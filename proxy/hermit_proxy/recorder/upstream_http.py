"""Reads answers as mitmproxy does, but for trailers: they are dropped, where mitmproxy would end in an exception.

RFC 9110 section 6.5.1 lets a recipient discard them, and no client on this wire may depend on them in a replay.
"""

from __future__ import annotations

from typing import Any

import h11
from mitmproxy import http
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import tls as tls_layers
from mitmproxy.proxy.layers.http._http1 import Http1Client, TBodyReader

from hermit_proxy.recorder.inplace import ServerTLS


class TrailerDropper:
    """Is one of h11's readers of bodies whose end has no trailers."""

    def __init__(self, reader: TBodyReader) -> None:
        """Take h11's reader."""
        self._reader = reader

    def __call__(self, buffer: Any) -> Any:
        """Give the next part, None where it has not come yet."""
        event = self._reader(buffer)
        return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) else event

    def read_eof(self) -> Any:
        """Give the end, or raise h11.ProtocolError where it has not been reached."""
        return self._reader.read_eof()


class LenientHttp1Client(Http1Client):
    """Is mitmproxy's reader of answers behind a TrailerDropper."""

    @property  # type: ignore[override]  # it is called as h11's readers are
    def body_reader(self) -> TrailerDropper:
        """Give what reads the body of the open answer."""
        return self._body_reader

    @body_reader.setter
    def body_reader(self, reader: TBodyReader) -> None:
        """Put the dropper around whatever mitmproxy has chosen."""
        self._body_reader = TrailerDropper(reader)


def install() -> None:
    """Have mitmproxy's HTTP layers make this reader and our TLS: they take theirs by its name, and offer no choice."""
    http_layers.Http1Client = LenientHttp1Client  # type: ignore[attr-defined]  # imported there, not declared
    tls_layers.ServerTLSLayer = ServerTLS  # type: ignore[misc]  # as above
    # mitmproxy has it looked at the type of every field of every message, where Python runs without -O.
    http.MessageData.__post_init__ = _nothing  # type: ignore[method-assign]  # dataclasses call it by its name


def _nothing(_message: http.MessageData) -> None:
    """Check nothing: what mitmproxy's own readers make has the types that they say."""

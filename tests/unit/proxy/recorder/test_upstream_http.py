"""Trailers of answers are dropped, and nothing else of a body is changed."""

from __future__ import annotations

import h11
import pytest
from h11._readers import ChunkedReader, ContentLengthReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import tls as tls_layers

from hermit_proxy.recorder.inplace import ServerTLS
from hermit_proxy.recorder.upstream_http import LenientHttp1Client, TrailerDropper, install


def read(reader: TrailerDropper, octets: bytes) -> tuple[bytes, object]:
    """Read to the end, or to where more is needed."""
    buffer = ReceiveBuffer()
    buffer += octets
    body = b""
    while isinstance(event := reader(buffer), h11.Data):
        body += bytes(event.data)
    return body, event


@pytest.mark.parametrize("trailers", [b"", b"X: y\r\n", b"X: y\r\nZ: a\r\n"])
def test_a_chunked_body_ends_without_its_trailers(trailers: bytes) -> None:
    body, event = read(TrailerDropper(ChunkedReader()), b"2\r\nab\r\n0\r\n" + trailers + b"\r\n")
    assert isinstance(event, h11.EndOfMessage)
    assert (body, list(event.headers)) == (b"ab", [])


def test_trailers_that_are_none_are_still_an_error() -> None:
    with pytest.raises(h11.ProtocolError):
        read(TrailerDropper(ChunkedReader()), b"0\r\nno colon\r\n\r\n")


def test_a_body_that_breaks_off_has_no_end() -> None:
    reader = TrailerDropper(ContentLengthReader(5))
    assert read(reader, b"abc") == (b"abc", None)
    with pytest.raises(h11.ProtocolError):
        reader.read_eof()


def test_mitmproxys_layers_make_this_reader_and_our_tls() -> None:
    install()
    assert http_layers.Http1Client is LenientHttp1Client
    assert tls_layers.ServerTLSLayer is ServerTLS


def test_no_message_has_the_types_of_its_fields_looked_at() -> None:
    install()
    http.Response(b"HTTP/1.1", "odd", b"", http.Headers(), None, None, 0.0, None)  # type: ignore[arg-type]  # the point

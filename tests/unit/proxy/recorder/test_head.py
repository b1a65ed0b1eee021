"""What passes the strict reader means one thing; everything else is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.recorder.head import BadHeadError, Tunnel, read_head

TLS = Tunnel("registry.example.org", 443, tls=True)
FAULTY = Tunnel("registry.example.org", 443, tls=True, fault="SNI names another host")
GET = b"GET http://example.org/a HTTP/1.1\r\nHost: example.org"


def test_an_absolute_request_is_read_with_its_normalised_target() -> None:
    head = read_head(b"GET http://EXAMPLE.org:80/a/../%62 HTTP/1.1\r\nHost: example.org", None)
    assert head.target is not None
    assert (head.method, head.target.url) == ("GET", "http://example.org/b")


def test_a_request_in_a_tunnel_belongs_to_the_tunnels_host() -> None:
    head = read_head(b"GET /simple/ HTTP/1.1\r\nHost: registry.example.org", TLS)
    assert head.target is not None
    assert head.target.url == "https://registry.example.org/simple/"


@pytest.mark.parametrize("host", [b"", b"\r\nHost: a.example.org:8443", b"\r\nHost: a.example.org"])
def test_connect_is_read_with_and_without_host(host: bytes) -> None:
    assert read_head(b"CONNECT a.example.org:8443 HTTP/1.0" + host, None).connect == ("a.example.org", 8443)


@pytest.mark.parametrize(
    ("raw", "tunnel", "status"),
    [
        (GET + b"\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", None, 400),
        (GET + b"\r\nContent-Length: 1\r\nContent-Length: 1", None, 400),
        (GET + b"\r\nContent-Length: 1, 1", None, 400),
        (GET + b"\r\nContent-Length: +1", None, 400),
        (GET + b"\r\nContent-Length: 0x1", None, 400),
        (GET + b"\r\nTransfer-Encoding: chunked, identity", None, 400),
        (GET + b"\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", None, 400),
        (GET + b"\r\nTransfer-Encoding : chunked", None, 400),
        (GET + b"\r\nTransfer-Encoding: \x0bchunked", None, 400),
        (GET + b"\r\nTransfer-Encoding: chunked\t", None, 400),
        (GET + b"\r\nTransfer-Encoding:\tchunked", None, 400),
        (b"GET http://example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked", None, 400),
        (GET + b"\r\nHost: example.org", None, 400),
        (GET + b"\r\nX: a\r\n folded", None, 400),
        (GET + b"\nX: a", None, 400),
        (GET + b"\rX: a", None, 400),
        (GET + b"\r\nX: a\0b", None, 400),
        (GET + b"\r\nX y: a", None, 400),
        (GET + b"\r\nno colon", None, 400),
        (GET + b"\r\n: no name", None, 400),
        (GET + b"\r\nExpect: something", None, 417),
        (GET + b"\r\nUpgrade: websocket\r\nConnection: Upgrade", None, 403),
        (GET + b"\r\nUpgrade: h2c, websocket", None, 403),
        (GET + b"".join(b"\r\nX%d: y" % n for n in range(100)), None, 431),
        (b"GET http://example.org/ HTTP/1.1\r\nHost: example.net", None, 400),
        (b"GET http://example.org/ HTTP/1.1\r\nHost: example.org:81", None, 400),
        (b"GET http://example.org/ HTTP/1.1", None, 400),
        (b"GET http://user:secret@example.org/ HTTP/1.1\r\nHost: example.org", None, 400),
        (b"GET https://example.org/ HTTP/1.1\r\nHost: example.org", None, 400),
        (b"GET / HTTP/1.1\r\nHost: example.org", None, 400),
        (b"GET ftp://example.org/ HTTP/1.1\r\nHost: example.org", None, 400),
        (b"GET http://example.org/a b HTTP/1.1\r\nHost: example.org", None, 400),
        (b"GET  http://example.org/ HTTP/1.1\r\nHost: example.org", None, 400),
        (b"GET\thttp://example.org/ HTTP/1.1\r\nHost: example.org", None, 400),
        (b"GET http://example.org/ HTTP/2.0\r\nHost: example.org", None, 400),
        (b"GET http://example.org/ HTTP/1.10\r\nHost: example.org", None, 400),
        (b"get http://example.org/ HTTP/1.1\r\nHost: example.org", None, 400),
        (b"PRI * HTTP/2.0", None, 400),
        (b"PRI * HTTP/1.1\r\nHost: x", None, 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: example.org", None, 400),
        (b"CONNECT example.org HTTP/1.1\r\nHost: example.org", None, 400),
        (b"CONNECT 0x7f000001:443 HTTP/1.1\r\nHost: 0x7f000001:443", None, 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.net:443", None, 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\nHost: example.org", None, 400),
        (b"CONNECT registry.example.org:443 HTTP/1.1\r\nHost: registry.example.org", TLS, 400),
        (b"GET / HTTP/1.1\r\nHost: example.org", TLS, 400),
        (b"GET / HTTP/1.1", TLS, 400),
        (b"GET / HTTP/1.0", TLS, 400),
        (b"GET https://registry.example.org/ HTTP/1.1\r\nHost: registry.example.org", TLS, 400),
        (b"GET /%00 HTTP/1.1\r\nHost: registry.example.org", TLS, 400),
        (b"GET /%252e%252e/x HTTP/1.1\r\nHost: registry.example.org", TLS, 400),
        (b"GET / HTTP/1.1\r\nHost: registry.example.org", FAULTY, 403),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes, tunnel: Tunnel | None, status: int) -> None:
    with pytest.raises(BadHeadError) as caught:
        read_head(raw, tunnel)
    assert caught.value.status == status


def test_an_offer_of_h2c_is_passed_over() -> None:
    head = read_head(GET + b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA", None)
    assert head.target is not None


@given(st.binary(max_size=300), st.sampled_from([None, TLS]))
def test_any_octets_are_read_or_refused(raw: bytes, tunnel: Tunnel | None) -> None:
    try:
        head = read_head(raw, tunnel)
    except BadHeadError as error:
        assert error.status in {400, 403, 417, 431}  # noqa: PT017  both ways out are right
    else:
        assert (head.target is None) == (head.method == "CONNECT")

"""Tests how heads are cut off what a client sends, and how it is told who sent what."""

from __future__ import annotations

import pytest

from hermit_proxy.recorder.head import MAX_HEAD, BadHeadError, Tunnel
from hermit_proxy.replayer.inbox import Inbox, complaint, joined
from hermit_proxy.replayer.site import Incoming
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url

HEAD = b"GET http://x.example.org/ HTTP/1.1\r\nHost: x.example.org\r\nA: 1\r\na:  2 \r\n\r\n"


@pytest.mark.parametrize("cuts", [1, 2, 7, 1000])
def test_heads_are_cut_where_they_end(cuts: int) -> None:
    inbox = Inbox()
    octets = HEAD + HEAD + b"rest"
    found = []
    for start in range(0, len(octets), cuts):
        inbox.bytes += octets[start : start + cuts]
        while inbox and (raw := inbox.take_head()) is not None:
            found.append(raw)
    assert found == [HEAD, HEAD]
    assert bytes(inbox.bytes) == b"rest"


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"x" * (MAX_HEAD + 1), 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD + b"\r\n\r\n", 431),
        (b"\x16\x03\x01", 400),
        (b"\r", 400),
        (b"\0", 400),
        (b"GET / HTTP/1.1\n\n", 400),
    ],
)
def test_what_can_never_be_a_head_is_not_waited_for(octets: bytes, status: int) -> None:
    inbox = Inbox()
    inbox.bytes += octets
    with pytest.raises(BadHeadError) as refused:
        inbox.take_head()
    assert refused.value.status == status


def test_headers_are_joined_by_their_names() -> None:
    assert joined(HEAD) == {"host": "x.example.org", "a": "1, 2"}


def test_a_complaint_names_what_can_be_named() -> None:
    target = parse_url("https://x.example.org/p")
    assert Request("GET", target).target is target
    incoming = Incoming(b"", "PUT", target, {}, 0, keep_alive=True, tunnel=None)
    tunnel = Tunnel("x.example.org", 443, tls=True)
    assert complaint(b"", None, incoming, "why", 400) == ("PUT", "https://x.example.org/p", "why", 400)
    assert complaint(b"", None, None, "why", 408)[:2] == ("-", "-")
    assert complaint(b"", tunnel, None, "why", 0)[:2] == ("CONNECT", "https://x.example.org:443")
    assert complaint(b"GET /a HTTP/1.1\r\nX", tunnel, None, "why", 0)[:2] == ("GET", "https://x.example.org:443/a")
    assert complaint(b"GET //evil HT", None, None, "why", 0)[:2] == ("GET", "//evil")
    assert complaint(b"\xff\xfe\x00", None, None, "why", 0)[0] == "\\xff\\xfe\x00"

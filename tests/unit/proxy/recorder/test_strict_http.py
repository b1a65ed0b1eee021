"""What stands before mitmproxy's reader refuses in Hermit's own words all that mitmproxy would refuse in its own."""

from __future__ import annotations

import pytest
from mitmproxy.net.http import http1
from mitmproxy.proxy import events

from hermit_proxy.recorder.head import read_head
from tests.fuzz.intake import Conversation

HOST = b" HTTP/1.1\r\nHost: files.example.org"


def said(octets: bytes) -> Conversation:
    talk = Conversation(tunnel=False)
    talk.give(events.DataReceived(talk.client, octets))
    return talk


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://files.example.org:/a" + HOST,
        b"GET http://files.example.org?a=b" + HOST,
        b"GET http://xn--a.example.org/ HTTP/1.1\r\nHost: xn--a.example.org",
    ],
)
def test_a_good_request_that_mitmproxy_cannot_read_is_refused_and_known(head: bytes) -> None:
    assert read_head(head, None).target is not None
    with pytest.raises(ValueError):  # noqa: PT011  mitmproxy words it
        http1.read_request_head(head.split(b"\r\n"))
    talk = said(head + b"\r\n\r\n")
    assert talk.observer.refused == [400]
    assert talk.observer.heads == []
    assert b"x-hermit: refused" in talk.sent
    assert talk.closed


def test_what_it_reads_passes() -> None:
    talk = said(
        b"POST http://files.example.org/a" + HOST + b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    )
    assert (talk.requests[0].body, talk.requests[0].whole) == (b"x", True)
    assert talk.observer.refused == []

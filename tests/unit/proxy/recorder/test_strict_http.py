"""What stands before mitmproxy's reader refuses in Hermit's own words all that mitmproxy would refuse in its own."""

from __future__ import annotations

import pytest
from mitmproxy.net.http import http1
from mitmproxy.proxy import events

from hermit_proxy.recorder.budget import SMALL
from hermit_proxy.recorder.head import read_head
from tests.fuzz import intake
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


ASK = b"POST http://files.example.org/a" + HOST
BIG = SMALL + 1


@pytest.mark.parametrize(
    ("head", "body", "holds"),
    [
        (b"\r\nContent-Length: %d" % BIG, b"x", BIG),
        (b"\r\nContent-Length: %d" % SMALL, b"x", 0),
        (b"\r\nTransfer-Encoding: chunked", b"1\r\nx\r\n", 0),
        (b"\r\nTransfer-Encoding: chunked", b"%x\r\n" % BIG + b"x" * BIG + b"\r\n", 10 * BIG),
        (b"\r\nContent-Length: %d" % BIG, b"x" * BIG, BIG),
    ],
    ids=["announced", "small", "few chunks", "chunks may become all that is allowed", "whole and unanswered"],
)
def test_a_body_holds_what_it_may_come_to_have(
    head: bytes, body: bytes, holds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_BODY_LIMIT", 10 * BIG)
    assert said(ASK + head + b"\r\n\r\n" + body).reader.holds == holds


def test_a_body_that_was_answered_holds_nothing_and_a_whole_one_in_chunks_what_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_BODY_LIMIT", 10 * BIG)
    talk = said(ASK + b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % BIG + b"x" * BIG + b"\r\n0\r\n\r\n")
    assert BIG <= talk.reader.holds < 2 * BIG
    talk.answer()
    assert talk.reader.holds == 0


@pytest.mark.parametrize(("host", "holds"), [("hermit.internal", 0), ("hermit.internal:81", BIG)])
def test_an_upload_is_streamed_and_holds_nothing(host: str, holds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_BODY_LIMIT", 10 * BIG)
    head = f"PUT http://{host}/upload/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {BIG}\r\n\r\n"
    assert said(head.encode() + b"x").reader.holds == holds


def test_a_length_over_the_limit_is_refused_before_any_of_the_body_has_come() -> None:
    talk = said(ASK + b"\r\nContent-Length: 2001\r\n\r\n")
    assert (talk.observer.refused, talk.closed) == ([413], True)
    assert said(ASK + b"\r\nContent-Length: 1500\r\n\r\n").observer.refused == []

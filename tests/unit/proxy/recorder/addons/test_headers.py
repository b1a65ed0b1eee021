"""Upstream is asked for the thing itself, plain; clients get heads that can be read in one way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy.recorder.addons.headers import Headers
from hermit_proxy.recorder.exchange import Exchange
from tests.support.workshop import Workshop, problem, workshop

URL = "https://example.org/a"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, "- {pattern: .*/.*, action: ALLOW}\n") as made:
        yield made


@pytest.mark.parametrize(
    "name",
    [
        "range",
        "if_range",
        "if_none_match",
        "if_modified_since",
        "proxy_authorization",
        "proxy_connection",
        "te",
        "upgrade",
    ],
)
def test_what_would_change_the_answer_or_is_for_us_alone_is_cut(shop: Workshop, name: str) -> None:
    flow, _ = shop.decided(URL, **{name: "x"}, x_other="kept")
    Headers(shop.shared).request(flow)
    assert name.replace("_", "-") not in flow.request.headers
    assert (flow.request.headers["x-other"], flow.request.headers["accept-encoding"]) == ("kept", "identity")


def test_what_connection_names_is_cut_but_for_what_frames_the_message(shop: Workshop) -> None:
    flow, _ = shop.decided(URL, "POST", connection="X-Mine, close, Content-Length", x_mine="1", content_length="0")
    Headers(shop.shared).request(flow)
    assert "x-mine" not in flow.request.headers
    assert (flow.request.headers["connection"], flow.request.headers["content-length"]) == ("close", "0")


def test_every_field_of_a_name_is_cut_however_it_is_spelled_and_the_rest_keeps_its_order(shop: Workshop) -> None:
    flow, _ = shop.decided(URL, "POST")
    before = ((b"RANGE", b"1"), (b"X-A", b"1"), (b"Te", b"1"), (b"x-a", b"2"), (b"range", b"2"), (b"Keep-Alive", b"1"))
    flow.request.headers.fields = (*before, (b"Connection", b"X-\xe9"), (b"x-\xe9", b"1"))
    Headers(shop.shared).request(flow)
    fields = [field for field in flow.request.headers.fields if field[0] not in {b"accept-encoding", b"host"}]
    assert fields == [(b"X-A", b"1"), (b"x-a", b"2")]


def test_the_normalised_form_is_what_goes_out(shop: Workshop) -> None:
    flow, _ = shop.decided("https://EXAMPLE.org:443/x/../a?b", host="EXAMPLE.org")
    Headers(shop.shared).request(flow)
    data = flow.request.data
    assert (data.host, data.port, data.scheme, data.path) == ("example.org", 443, b"https", b"/a?b")
    assert flow.request.headers["host"] == "example.org"


def test_a_body_that_came_in_chunks_goes_out_with_its_length(shop: Workshop) -> None:
    flow, _ = shop.decided(URL, "POST", transfer_encoding="chunked")
    flow.request.raw_content = b"hello"
    Headers(shop.shared).request(flow)
    assert flow.request.headers["content-length"] == "5"
    assert "transfer-encoding" not in flow.request.headers


def answered(shop: Workshop, status: int = 200, version: str = "HTTP/1.1", **headers: str) -> Exchange:
    flow, exchange = shop.decided(URL)
    shop.answer(flow, status, **headers).http_version = version
    Headers(shop.shared).responseheaders(flow)
    return exchange


@pytest.mark.parametrize(
    ("status", "version", "headers"),
    [
        (200, "HTTP/1.1", {"x": "a\r\n b"}),
        (200, "HTTP/1.1", {"x": "a\0"}),
        (103, "HTTP/1.1", {}),
        (101, "HTTP/1.1", {}),
        (600, "HTTP/1.1", {}),
        (200, "HTTP/1.1", {"transfer_encoding": "gzip, chunked"}),
        (200, "HTTP/2.0", {}),
    ],
)
def test_a_head_that_could_be_read_in_two_ways_fails(
    shop: Workshop, status: int, version: str, headers: dict[str, str]
) -> None:
    assert problem(answered(shop, status, version, **headers)) == ("failed", 502)


def test_a_plain_head_passes(shop: Workshop) -> None:
    assert answered(shop, x="a\tb").problem is None
    assert answered(shop, 200, "HTTP/1.0").problem is None


@pytest.mark.parametrize(
    ("headers", "version", "coding", "until_close"),
    [
        ({"until_close": "yes"}, "HTTP/1.1", "chunked", True),
        ({"until_close": "yes"}, "HTTP/1.0", None, True),
        ({"transfer_encoding": "chunked"}, "HTTP/1.1", "chunked", False),
        ({}, "HTTP/1.1", None, False),
    ],
)
def test_a_body_that_only_the_connection_ends_is_known_and_framed_for_who_can_read_it(
    shop: Workshop, headers: dict[str, str], version: str, coding: str | None, until_close: bool
) -> None:
    flow, exchange = shop.decided(URL)
    flow.request.http_version = version
    answer = shop.answer(flow, 200, **headers)
    Headers(shop.shared).responseheaders(flow)
    assert (answer.headers.get("transfer-encoding"), exchange.until_close) == (coding, until_close)


@pytest.mark.parametrize("name", ["alt_svc", "connection", "keep_alive", "trailer", "proxy_authenticate", "upgrade"])
def test_what_is_between_us_and_upstream_does_not_reach_the_client(shop: Workshop, name: str) -> None:
    flow, _ = shop.decided(URL)
    answer = shop.answer(flow, 200, **{name: "x"}, etag="kept")
    Headers(shop.shared).responseheaders(flow)
    assert name.replace("_", "-") not in answer.headers
    assert answer.headers["etag"] == "kept"

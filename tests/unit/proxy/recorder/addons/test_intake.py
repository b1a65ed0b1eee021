"""What the strict reader found becomes an exchange and a request of the core, or a refusal that is logged."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from hermit_proxy.recorder.addons.intake import Intake
from hermit_proxy.recorder.head import BadHeadError, Head, Tunnel
from hermit_proxy.request.body import BODY_LIMIT
from hermit_proxy.request.target import parse_url
from hermit_proxy.run.events import Outcome
from tests.support.workshop import CLIENT, Workshop, problem, workshop

URL = "https://example.org/a"
UPLOAD = "http://hermit.internal/upload/sha256/" + "0" * 64
LIMIT = 1 << 30


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, "- {pattern: .*/.*, action: ALLOW}\n") as made:
        yield made


def flow(url: str, method: str = "GET", body: bytes = b"", **headers: str) -> http.HTTPFlow:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made = tflow.tflow(req=http.Request.make(method, url, b"", named))
    made.request.raw_content = body
    made.client_conn.id = CLIENT
    return made


def test_a_head_and_a_body_become_a_request_with_the_bodys_digest(shop: Workshop) -> None:
    intake, asked = Intake(shop.shared, LIMIT), flow(URL, "POST", gzip.compress(b"hello"), content_encoding="gzip")
    intake.head_read(CLIENT, Head("POST", parse_url(URL)))
    intake.requestheaders(asked)
    intake.request(asked)
    exchange = shop.shared.exchange(asked)
    assert exchange is not None
    assert exchange.request is not None
    assert (exchange.request.method, exchange.request.target) == ("POST", parse_url(URL))
    assert exchange.request.body == hashlib.sha256(b"hello").hexdigest()
    assert exchange.request.headers["content-encoding"] == "gzip"
    assert asked.request.raw_content
    shop.shared.exchanges.close(exchange)
    assert not asked.request.raw_content, "the memory is not waited for"


def test_a_body_that_unpacks_to_too_much_is_refused(shop: Workshop) -> None:
    intake = Intake(shop.shared, LIMIT)
    asked = flow(URL, "POST", gzip.compress(bytes(BODY_LIMIT + 1), 1), content_encoding="gzip")
    intake.head_read(CLIENT, Head("POST", parse_url(URL)))
    intake.requestheaders(asked)
    intake.request(asked)
    exchange = shop.shared.exchange(asked)
    assert exchange is not None
    assert problem(exchange) == ("refused", 413)
    assert exchange.request is None


@pytest.mark.parametrize("hook", ["requestheaders", "http_connect"])
def test_what_nobody_read_strictly_is_a_fault(shop: Workshop, hook: str) -> None:
    with pytest.raises(RuntimeError):
        getattr(Intake(shop.shared, LIMIT), hook)(flow(URL))


@pytest.mark.parametrize(
    ("tunnel", "raw", "method", "url"),
    [
        (None, b"GET http://example.org/ HTTP/1.1\r\nX", "GET", "http://example.org/"),
        (
            Tunnel("example.org", 443, tls=True),
            b"GET /a?token=b HTTP/1.1",
            "GET",
            "https://example.org:443/a?token=...",
        ),
        (None, b"\x80\x81", "\\x80\\x81", ""),
    ],
)
def test_a_refused_head_has_its_line_and_its_answer(
    shop: Workshop, tunnel: Tunnel | None, raw: bytes, method: str, url: str
) -> None:
    found = Intake(shop.shared, LIMIT).head_refused(CLIENT, tunnel, raw, BadHeadError(431, "too long"))
    assert (found.status, found.reason) == (431, "too long")
    assert [(line.outcome, line.method, line.url) for line in shop.log] == [(Outcome.REFUSED, method, url)]


def test_an_upload_is_streamed_to_the_engine(shop: Workshop) -> None:
    intake, asked = Intake(shop.shared, LIMIT), flow(UPLOAD, "PUT")
    intake.head_read(CLIENT, Head("PUT", parse_url(UPLOAD)))
    intake.requestheaders(asked)
    exchange = shop.shared.exchange(asked)
    assert exchange is not None
    assert exchange.route is not None
    assert (exchange.route.internal, exchange.route.port, asked.request.stream) == (True, 9, True)
    assert asked.request.path == "/internal" + parse_url(UPLOAD).path


@pytest.mark.parametrize(
    ("url", "limit"),
    [
        (UPLOAD, LIMIT),
        ("http://hermit.internal:81/upload", BODY_LIMIT),
        ("https://hermit.internal/upload", BODY_LIMIT),
        (URL, BODY_LIMIT),
    ],
)
def test_only_an_upload_that_is_taken_may_have_the_limit_of_uploads(shop: Workshop, url: str, limit: int) -> None:
    intake, asked = Intake(shop.shared, LIMIT), flow(url, "PUT")
    intake.head_read(CLIENT, Head("PUT", parse_url(url)))
    early = intake.body_limit(CLIENT)
    intake.requestheaders(asked)
    assert early == intake.body_limit(CLIENT) == limit + (1 << 16)
    exchange = shop.shared.exchange(asked)
    assert exchange is not None
    assert (exchange.problem is not None) == ("hermit.internal" in url and limit == BODY_LIMIT)


def test_a_body_can_be_refused_before_its_request_has_been_reported(shop: Workshop) -> None:
    intake, asked = Intake(shop.shared, LIMIT), flow(URL, "PUT")
    intake.head_read(CLIENT, Head("PUT", parse_url(URL)))
    assert intake.body_refused(CLIENT, 413, "too large").status == 413
    intake.requestheaders(asked)
    exchange = shop.shared.exchange(asked)
    assert exchange is shop.shared.exchanges.current(CLIENT)
    assert exchange is not None
    assert problem(exchange) == ("refused", 413)
    assert intake.problem(CLIENT) is exchange.problem
    assert shop.log == []


def test_the_body_of_no_request_is_a_fault(shop: Workshop) -> None:
    with pytest.raises(RuntimeError):
        Intake(shop.shared, LIMIT).body_refused(CLIENT, 413, "too large")


def test_a_tunnel_leads_to_the_normalised_host(shop: Workshop) -> None:
    intake, asked = Intake(shop.shared, LIMIT), flow("https://EXAMPLE.org/")
    intake.head_read(CLIENT, Head("CONNECT", None, ("example.org", 443)))
    intake.http_connect(asked)
    assert (asked.request.data.host, asked.request.data.port, asked.response) == ("example.org", 443, None)
    assert shop.log == []


def test_there_is_no_tunnel_to_the_internal_host(shop: Workshop) -> None:
    intake, asked = Intake(shop.shared, LIMIT), flow("https://hermit.internal/")
    intake.head_read(CLIENT, Head("CONNECT", None, ("hermit.internal", 443)))
    intake.http_connect(asked)
    assert asked.response is not None
    assert asked.response.status_code == 403
    assert [line.outcome for line in shop.log] == [Outcome.REFUSED]


def test_a_faulty_tunnel_is_known_to_the_reader(shop: Workshop) -> None:
    shop.shared.exchanges.mark_tunnel(CLIENT, "SNI")
    assert Intake(shop.shared, LIMIT).tunnel_fault(CLIENT) == "SNI"

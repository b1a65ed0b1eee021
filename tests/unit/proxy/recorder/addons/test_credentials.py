"""A credential goes where it is bound and nowhere else, and nothing that shows it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.recorder.addons.credentials import Credentials, Reflections
from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.request.target import parse_url
from tests.support.workshop import Workshop, bound, problem, workshop

URL = "https://private.example.org/in/a"
RULES = """\
- {pattern: private.example.org/open/.*, action: ALLOW}
- {pattern: private.example.org/.*, action: ALLOW, credential: private}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, RULES, credentials=bound(tmp_path)) as made:
        yield made


def test_it_replaces_what_the_client_sent(shop: Workshop) -> None:
    flow, exchange = shop.decided(URL, authorization="Bearer of-the-client")
    Credentials(shop.shared).request(flow)
    assert flow.request.headers.get_all("authorization") == ["Bearer correct-horse-battery"]
    assert exchange.credentialed


@pytest.mark.parametrize(
    ("url", "method", "refused"),
    [
        ("https://private.example.org/open/a", "GET", False),
        ("https://private.example.org/other", "GET", True),
        ("http://private.example.org/in/a", "GET", True),
        (URL, "DELETE", True),
    ],
)
def test_it_is_not_for_other_requests(shop: Workshop, url: str, method: str, refused: bool) -> None:
    flow, exchange = shop.decided(url, method)
    Credentials(shop.shared).request(flow)
    assert "authorization" not in flow.request.headers
    assert not exchange.credentialed
    assert (exchange.problem is not None) == refused


@pytest.mark.parametrize("place", ["https://cdn.example.org/in/a", "https://private.example.org:444/in/a"])
def test_it_is_not_for_where_a_redirect_was_folded_to(shop: Workshop, place: str) -> None:
    flow, exchange = shop.decided(URL)
    exchange.upstream = parse_url(place)
    Credentials(shop.shared).request(flow)
    assert "authorization" not in flow.request.headers
    assert exchange.problem is None


def answered(shop: Workshop, *, credentialed: bool = True, method: str = "GET", **headers: str) -> Exchange:
    flow, exchange = shop.decided(URL, method)
    exchange.credentialed = credentialed
    shop.answer(flow, 200, b"body", **headers)
    Reflections(shop.shared).responseheaders(flow)
    return exchange


@pytest.mark.parametrize(
    "value", ["correct-horse-battery", "x Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5 y"], ids=["plain", "base64"]
)
def test_a_head_that_shows_it_is_refused_whatever_asked_for_it(shop: Workshop, value: str) -> None:
    assert problem(answered(shop, credentialed=False, x_echo=value)) == ("refused", 403)
    assert answered(shop, x_echo="nothing").problem is None


def test_a_reason_phrase_that_shows_it_is_refused(shop: Workshop) -> None:
    flow, exchange = shop.decided(URL)
    shop.answer(flow).data.reason = b"correct-horse-battery"
    Reflections(shop.shared).responseheaders(flow)
    assert problem(exchange) == ("refused", 403)


@pytest.mark.parametrize(
    ("coding", "credentialed", "method", "refused"),
    [
        ("gzip", True, "GET", True),
        ("identity, br", True, "GET", True),
        ("x-unheard-of", True, "GET", True),
        ("identity", True, "GET", False),
        ("Identity, ", True, "GET", False),
        ("gzip", True, "HEAD", False),
        ("gzip", False, "GET", False),
    ],
)
def test_a_body_that_nobody_can_look_into_is_refused_where_the_server_was_shown_a_secret(
    shop: Workshop, coding: str, credentialed: bool, method: str, refused: bool
) -> None:
    exchange = answered(shop, credentialed=credentialed, method=method, content_encoding=coding)
    assert (exchange.problem is not None) == refused


def test_without_bindings_nothing_is_looked_at(tmp_path: Path) -> None:
    with workshop(tmp_path, RULES.replace(", credential: private", "")) as shop:
        assert answered(shop, x_echo="correct-horse-battery").problem is None


def test_a_rule_whose_credential_is_not_bound_refuses(shop: Workshop) -> None:
    flow, exchange = shop.decided(URL)
    assert exchange.fetch is not None
    exchange.decision = replace(exchange.fetch, rule=replace(exchange.fetch.rule, credential="other"))
    Credentials(shop.shared).request(flow)
    assert problem(exchange) == ("refused", 403)

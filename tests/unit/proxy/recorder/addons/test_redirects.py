"""Signatures are cut out of Location and put back upstream; a folded redirect needs a rule for its target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy.recorder.addons.redirects import Redirects
from tests.support.workshop import Workshop, problem, workshop

RULES = """\
- {pattern: example.org/fold.*, action: ALLOW, fold_redirect: true}
- {pattern: example.org/bare.*, action: ALLOW, fold_redirect: true, query: ignore}
- {pattern: example.org/.*, action: ALLOW}
- {pattern: cdn.example.org/.*, action: ALLOW}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, RULES) as made:
        yield made


def redirected(shop: Workshop, url: str, location: str, status: int = 302) -> str:
    """Give what the client sees as Location."""
    flow, _ = shop.decided(url)
    answer = shop.answer(flow, status, location=location)
    Redirects(shop.shared).responseheaders(flow)
    shown: str = answer.headers["location"]
    return shown


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://cdn.example.org/x?sig=a&b=1", "https://cdn.example.org/x?b=1"),
        ("/x?X-Amz-Signature=a", "https://example.org/x"),
        ("x?token=a#part", "https://example.org/x"),
        ("https://cdn.example.org/x?b=1", "https://cdn.example.org/x?b=1"),
        ("ftp://cdn.example.org/x?sig=a", "ftp://cdn.example.org/x?sig=a"),
    ],
)
def test_the_client_sees_the_location_without_its_signature(shop: Workshop, location: str, shown: str) -> None:
    assert redirected(shop, "https://example.org/a", location) == shown


def test_upstream_is_asked_with_the_signature_when_the_client_comes_back(shop: Workshop) -> None:
    shown = redirected(shop, "https://example.org/a", "https://cdn.example.org/x?sig=a&b=1")
    flow, exchange = shop.decided(shown)
    exchange.upstream = exchange.route = None
    Redirects(shop.shared).request(flow)
    assert exchange.upstream is not None
    assert exchange.upstream.url == "https://cdn.example.org/x?sig=a&b=1"
    assert exchange.route is not None
    assert (exchange.route.host, exchange.route.port) == ("cdn.example.org", 443)


@pytest.mark.parametrize(("host", "admitted"), [("cdn.example.org", True), ("evil.example.org", False)])
def test_what_was_folded_is_fetched_where_a_rule_admits_its_target(shop: Workshop, host: str, admitted: bool) -> None:
    shown = redirected(shop, "https://example.org/fold", f"https://{host}/signed/x")
    assert shown == "https://example.org/fold?hermit-fold=1"
    flow, exchange = shop.decided(shown)
    exchange.route = None
    Redirects(shop.shared).request(flow)
    if admitted:
        assert exchange.route is not None
        assert exchange.route.host == host
    else:
        assert problem(exchange) == ("refused", 403)
        assert exchange.route is None


@pytest.mark.parametrize(
    ("url", "word"),
    [("https://example.org/fold?hermit-fold=1", "leads to another"), ("https://example.org/bare", "part of the key")],
)
def test_a_redirect_that_cannot_be_folded_fails_in_words(shop: Workshop, url: str, word: str) -> None:
    flow, exchange = shop.decided(url)
    shop.answer(flow, 302, location="https://cdn.example.org/x")
    Redirects(shop.shared).responseheaders(flow)
    assert exchange.problem is not None
    assert word in exchange.problem.reason


def test_only_redirects_are_folded(shop: Workshop) -> None:
    location = "https://cdn.example.org/x"
    assert redirected(shop, "https://example.org/fold", location, 201) == location

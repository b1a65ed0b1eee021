"""Nothing is sent upstream but what the policy lets be fetched, and each thing is fetched once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from mitmproxy import http

from hermit_proxy.policy import Fetch, Refuse, Replay
from hermit_proxy.recorder.addons.decide import Decide
from hermit_proxy.snapshot.entry import Entry
from tests.support.workshop import Workshop, problem, workshop

URL = "https://example.org/a"
RULES = """\
- {pattern: example.org/no, action: REJECT}
- {pattern: example.org/locked, action: LOCKED}
- {pattern: example.org/through, action: NO_STORE}
- {pattern: example.org/bare, action: ALLOW, query: ignore}
- {pattern: example.org/.*, action: ALLOW}
"""


async def decided(decide: Decide, flow: http.HTTPFlow) -> None:
    """Ask, and wait where it says so."""
    waiting = decide.request(flow)
    if waiting is not None:
        await waiting


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, RULES) as made:
        yield made


@pytest.mark.parametrize(
    ("url", "broken", "hint"),
    [
        ("https://example.org/no", False, "rules.yaml:2"),
        ("https://example.org/locked", True, "ALLOW instead of LOCKED"),
        ("https://other.example.org/", True, "pattern: 'other.example.org/'"),
    ],
)
def test_what_the_rules_do_not_admit_is_refused_with_what_helps(
    shop: Workshop, url: str, broken: bool, hint: str
) -> None:
    flow, exchange = shop.flow(url)
    asyncio.run(decided(Decide(shop.shared), flow))
    assert isinstance(exchange.decision, Refuse)
    assert exchange.problem is not None
    assert (exchange.problem.broken, exchange.route) == (broken, None)
    assert hint in (exchange.problem.hint or "")


def test_what_may_be_fetched_takes_the_lead_and_gives_it_back_at_its_end(shop: Workshop) -> None:
    async def scenario() -> None:
        flow, exchange = shop.flow(URL)
        await decided(Decide(shop.shared), flow)
        assert isinstance(exchange.decision, Fetch)
        assert exchange.request is not None
        assert shop.shared.flights.lead(exchange.request, URL) is None
        shop.shared.exchanges.close(exchange)
        assert shop.shared.flights.lead(exchange.request, URL) is not None

    asyncio.run(scenario())


@pytest.mark.parametrize("recorded", [True, False])
def test_who_asks_for_the_same_waits_and_is_answered_from_the_store_or_leads_itself(
    shop: Workshop, recorded: bool
) -> None:
    async def scenario() -> object:
        first_flow, first = shop.flow(URL)
        decide = Decide(shop.shared)
        await decided(decide, first_flow)
        shop.shared.exchanges._current.clear()
        second_flow, second = shop.flow(URL)
        waiting = asyncio.create_task(decided(decide, second_flow))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.entry = Entry("GET", URL, 200, sha256="a" * 64, size=1) if recorded else None
        shop.shared.exchanges.close(first)
        await waiting
        assert (second.route is not None and second.route.internal) == recorded
        return second.decision

    assert isinstance(asyncio.run(scenario()), Replay if recorded else Fetch)


def test_what_is_not_kept_waits_for_nobody(shop: Workshop) -> None:
    async def scenario() -> None:
        for _ in range(2):
            flow, exchange = shop.flow("https://example.org/through")
            shop.shared.exchanges._current.clear()
            await decided(Decide(shop.shared), flow)
            assert isinstance(exchange.decision, Fetch)
            assert exchange.cleanups == []

    asyncio.run(scenario())


@pytest.mark.parametrize(("path", "refused"), [("a?sig=x", True), ("a?sig=", False), ("bare?sig=x", False)])
def test_a_credential_in_the_key_is_refused_with_the_rule_that_would_drop_it(
    shop: Workshop, path: str, refused: bool
) -> None:
    flow, exchange = shop.flow(f"https://example.org/{path}")
    asyncio.run(decided(Decide(shop.shared), flow))
    assert (exchange.problem is not None) == refused
    if refused:
        assert problem(exchange) == ("refused", 403)
        assert exchange.problem is not None
        assert exchange.problem.hint == "`query: ignore`, or `query: [names]` without sig, at the rule in line 6"


def test_what_is_answered_already_is_not_decided_about(shop: Workshop) -> None:
    flow, exchange = shop.flow(URL)
    exchange.refuse("no")
    asyncio.run(decided(Decide(shop.shared), flow))
    assert exchange.decision is None

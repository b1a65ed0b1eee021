"""What the addons share: aliases that are bounded, and exchanges that belong to their flow."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.recorder import shared
from hermit_proxy.recorder.shared import Aliases, kill
from hermit_proxy.request.target import parse_url
from tests.support.workshop import workshop

ONE, TWO, THREE = (parse_url(f"https://example.org/{number}") for number in "123")


def test_an_alias_leads_to_what_was_added_last_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_MAX_ALIASES", 2)
    aliases = Aliases()
    for shown, real in ((ONE, TWO), (TWO, ONE), (ONE, THREE), (THREE, ONE)):
        aliases.add(shown, real)
    assert [aliases.real(shown) for shown in (ONE, TWO, THREE)] == [THREE, None, ONE]


def test_an_exchange_is_open_until_it_is_closed_or_has_a_problem(tmp_path: Path) -> None:
    with workshop(tmp_path, "- {pattern: .*/.*, action: ALLOW}\n") as shop:
        flow, exchange = shop.flow("https://example.org/")
        assert shop.shared.open_exchange(flow) is exchange
        exchange.refuse("no")
        assert shop.shared.open_exchange(flow) is None
        assert shop.shared.exchange(flow) is exchange
        flow, exchange = shop.flow("https://example.org/")
        shop.shared.exchanges.close(exchange)
        assert shop.shared.open_exchange(flow) is None


def test_a_killed_flow_is_dropped_even_half_way(tmp_path: Path) -> None:
    with workshop(tmp_path, "- {pattern: .*/.*, action: ALLOW}\n") as shop:
        flow, _ = shop.flow("https://example.org/")
        flow.live = True
        kill(flow)
        assert flow.error is not None
        assert not flow.live

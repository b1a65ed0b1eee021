"""Every request gets an answer and one line, whoever gave it up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mitmproxy import flow as flows

from hermit_proxy.recorder.addons.report import Report
from hermit_proxy.run.events import Outcome
from tests.support.workshop import Workshop, workshop

URL = "https://example.org/a"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, "- {pattern: .*/.*, action: ALLOW}\n") as made:
        yield made


def test_what_was_refused_is_answered_with_the_reason(shop: Workshop) -> None:
    flow, exchange = shop.flow(URL)
    exchange.refuse("no")
    Report(shop.shared).request(flow)
    assert flow.response is not None
    assert (flow.response.status_code, b"no" in flow.response.content) == (403, True)
    Report(shop.shared).response(flow)
    assert [(line.outcome, line.size) for line in shop.log] == [(Outcome.REFUSED, len(flow.response.content))]


def test_what_nobody_decided_about_goes_nowhere(shop: Workshop) -> None:
    flow, _ = shop.flow(URL)
    Report(shop.shared).request(flow)
    assert flow.response is not None
    assert flow.response.status_code == 502


def test_what_was_routed_goes_on(shop: Workshop) -> None:
    flow, exchange = shop.decided(URL)
    Report(shop.shared).request(flow)
    assert flow.response is None
    shop.answer(flow, 203)
    Report(shop.shared).responseheaders(flow)
    assert (exchange.status, exchange.answered, flow.error) == (203, True, None)
    exchange.outcome = Outcome.RECORDED
    Report(shop.shared).response(flow)
    assert [(line.outcome, line.status) for line in shop.log] == [(Outcome.RECORDED, 203)]
    assert flow.error is None


@pytest.mark.parametrize("hook", ["responseheaders", "response"])
def test_an_answer_that_has_turned_out_bad_does_not_end_as_a_good_one(shop: Workshop, hook: str) -> None:
    flow, exchange = shop.decided(URL)
    shop.answer(flow)
    exchange.fail("it lies")
    getattr(Report(shop.shared), hook)(flow)
    assert flow.error is not None
    assert not exchange.answered


@pytest.mark.parametrize("hook", ["request", "responseheaders", "response"])
def test_a_flow_without_an_exchange_is_a_fault(shop: Workshop, hook: str) -> None:
    flow, _ = shop.flow(URL)
    flow.metadata.clear()
    shop.answer(flow)
    with pytest.raises(RuntimeError):
        getattr(Report(shop.shared), hook)(flow)


@pytest.mark.parametrize(
    ("message", "reason"),
    [("Client disconnected.", "the client went away before it had the answer"), ("it broke", "it broke")],
)
def test_what_mitmproxy_gives_up_is_logged_once(shop: Workshop, message: str, reason: str) -> None:
    flow, _ = shop.decided(URL)
    flow.error = flows.Error(message)
    Report(shop.shared).error(flow)
    Report(shop.shared).error(flow)
    Report(shop.shared).client_disconnected(flow.client_conn)
    assert [(line.outcome, line.reason) for line in shop.log] == [(Outcome.FAILED, reason)]


def test_a_client_that_goes_away_ends_its_request_and_is_forgotten(shop: Workshop) -> None:
    flow, _ = shop.decided(URL)
    Report(shop.shared).client_disconnected(flow.client_conn)
    assert [line.outcome for line in shop.log] == [Outcome.FAILED]
    assert shop.shared.exchanges.problem(flow.client_conn.id) is None

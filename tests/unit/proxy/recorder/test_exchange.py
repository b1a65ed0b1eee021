"""Every exchange ends with one line, that says why, and hides credentials."""

from __future__ import annotations

import asyncio

import pytest

from hermit_proxy.recorder.exchange import Exchange, Exchanges
from hermit_proxy.recorder.head import Head
from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.snapshot.entry import Entry

URL = "https://example.org/"


def exchanges() -> tuple[Exchanges, list[RequestEvent]]:
    lines: list[RequestEvent] = []
    return Exchanges(lines.append, lambda: "step"), lines


def test_the_first_problem_stays_and_makes_the_outcome() -> None:
    exchange = Exchange("c", "GET", URL)
    exchange.outcome = Outcome.RECORDED
    exchange.refuse("no", hint="ask", status=413)
    exchange.fail("broke")
    event = exchange.event()
    assert (event.outcome, event.reason, event.hint, event.status, event.broken) == (
        Outcome.REFUSED, "no", "ask", 413, True,
    )  # fmt: skip


def test_nothing_of_a_credential_is_in_the_line() -> None:
    made, lines = exchanges()
    exchange = made.open("c", "GET", f"{URL}?api_key=geheim")
    exchange.fail(f"cannot ask {URL}?token=geheim")
    made.close(exchange)
    assert "geheim" not in repr(lines)
    assert "api_key=..." in lines[0].url


def test_it_is_closed_once_whatever_comes_after() -> None:
    made, lines = exchanges()
    let_go: list[int] = []
    exchange = made.open("c", "GET", URL)
    exchange.cleanups.append(lambda: let_go.append(1))
    made.close(exchange)
    made.close(exchange)
    made.abandon("c", "gone")
    assert (len(lines), let_go, lines[0].step) == (1, [1], "step")
    assert made.current("c") is None


def test_a_cleanup_that_fails_does_not_cost_the_line() -> None:
    made, lines = exchanges()
    exchange = made.open("c", "GET", URL)
    exchange.cleanups.append(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.close(exchange)
    assert len(lines) == 1


def test_the_next_request_on_a_connection_ends_the_one_before() -> None:
    made, lines = exchanges()
    made.open("c", "GET", URL)
    second = made.open("c", "GET", f"{URL}2")
    made.open("other", "GET", URL)
    assert [(line.outcome, line.url) for line in lines] == [(Outcome.FAILED, URL)]
    assert made.current("c") is second


@pytest.mark.parametrize(
    ("settling", "answered", "outcome", "line"),
    [
        (False, False, None, Outcome.FAILED),
        (False, True, Outcome.RECORDED, Outcome.FAILED),
        (False, True, Outcome.REPLAYED, Outcome.REPLAYED),
        (True, True, None, None),
    ],
)
def test_a_client_that_leaves_ends_what_has_not_come_whole(
    settling: bool, answered: bool, outcome: Outcome | None, line: Outcome | None
) -> None:
    made, lines = exchanges()
    exchange = made.open("c", "GET", URL)
    exchange.settling, exchange.answered, exchange.outcome = settling, answered, outcome
    made.abandon("c", "gone")
    assert [event.outcome for event in lines] == ([line] if line else [])


def test_why_the_last_request_was_not_answered_is_known_until_the_next_or_the_end() -> None:
    made, _ = exchanges()
    exchange = made.open("c", "GET", URL)
    problem = exchange.refuse("no")
    made.close(exchange)
    assert made.problem("c") is problem
    made.open("c", "GET", URL)
    assert made.problem("c") is None
    made.forget("c")
    assert made.problem("other") is None


def test_a_head_is_given_once_and_can_be_looked_at_before() -> None:
    made, _ = exchanges()
    head = Head("GET", None)
    made.expect("c", head)
    assert [made.peek("c"), made.expected("c"), made.expected("c")] == [head, head, None]


def test_a_faulty_tunnel_is_remembered_until_the_connection_ends() -> None:
    made, _ = exchanges()
    made.mark_tunnel("c", "fault")
    assert made.tunnel_fault("c") == "fault"
    made.forget("c")
    assert made.tunnel_fault("c") is None


def test_idle_waits_for_all() -> None:
    async def scenario() -> list[bool]:
        made, _ = exchanges()
        await made.idle()
        open_ones = [made.open(name, "GET", URL) for name in "ab"]
        waiting = asyncio.create_task(made.idle())
        done = []
        for exchange in open_ones:
            await asyncio.sleep(0)
            done.append(waiting.done())
            made.close(exchange)
        await waiting
        return done

    assert asyncio.run(scenario()) == [False, False]


@pytest.mark.parametrize(
    ("outcome", "stand_in", "there"),
    [(Outcome.RECORDED, None, True), (Outcome.PASSED, None, False), (Outcome.PASSED, "token", True)],
)
def test_the_line_holds_the_entry_of_what_was_recorded(outcome: Outcome, stand_in: str | None, there: bool) -> None:
    exchange = Exchange("c", "GET", URL, outcome=outcome, entry=Entry("GET", URL, 200, stand_in=stand_in))
    assert (exchange.event().entry is not None) == there


def test_what_ended_without_an_outcome_failed_and_remarks_add_up() -> None:
    exchange = Exchange("c", "GET", URL)
    exchange.remark("one")
    exchange.remark("two")
    event = exchange.event()
    assert (event.outcome, event.reason, event.note) == (Outcome.FAILED, "it ended without an answer", "one; two")

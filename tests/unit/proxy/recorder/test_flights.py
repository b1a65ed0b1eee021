"""Each thing is fetched once: the first leads, the others wait for what it brings."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.recorder.flights import Flights, answers
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.snapshot.entry import Entry

URL = "https://example.org/a"
REQUEST = Request("GET", parse_url(URL))
ENTRY = Entry("GET", URL, 200, sha256="a" * 64, size=1)


def ended(entry: Entry | None) -> Exchange:
    return Exchange("client", "GET", URL, entry=entry)


@pytest.mark.parametrize(("entry", "given"), [(ENTRY, ENTRY), (None, None), (replace(ENTRY, status=401), None)])
def test_who_waits_gets_what_the_leader_recorded(entry: Entry | None, given: Entry | None) -> None:
    async def scenario() -> tuple[bool, Entry | None]:
        flights = Flights()
        land = flights.lead(REQUEST, URL)
        assert land is not None
        waiting = asyncio.create_task(flights.wait(REQUEST, URL))
        await asyncio.sleep(0)
        assert not waiting.done()
        land(ended(entry))
        return await waiting

    assert asyncio.run(scenario()) == (True, given)


@pytest.mark.parametrize(
    ("other", "key_url", "same"),
    [
        (REQUEST, URL, True),
        (Request("HEAD", REQUEST.target), URL, False),
        (REQUEST, f"{URL}?b", False),
        (Request("GET", REQUEST.target, body="b" * 64), URL, False),
        (Request("GET", REQUEST.target, {"accept": "text/html"}), URL, False),
        (Request("GET", REQUEST.target, {"user-agent": "another"}), URL, True),
    ],
)
def test_only_the_same_question_has_a_leader(other: Request, key_url: str, same: bool) -> None:
    async def scenario() -> bool:
        flights = Flights()
        flights.lead(REQUEST, URL)
        return flights.lead(other, key_url) is None

    assert asyncio.run(scenario()) == same


def test_after_the_landing_the_next_one_leads_and_an_old_landing_does_not_end_it() -> None:
    async def scenario() -> tuple[bool, bool]:
        flights = Flights()
        first = flights.lead(REQUEST, URL)
        assert first is not None
        first(ended(None))
        second = flights.lead(REQUEST, URL)
        first(ended(ENTRY))
        return second is not None, flights.lead(REQUEST, URL) is None

    assert asyncio.run(scenario()) == (True, True)


def test_patience_ends_and_nobody_leads_means_no_waiting() -> None:
    async def scenario() -> list[tuple[bool, Entry | None]]:
        flights = Flights(patience=0)
        nobody = await flights.wait(REQUEST, URL)
        flights.lead(REQUEST, URL)
        return [nobody, await flights.wait(REQUEST, URL)]

    assert asyncio.run(scenario()) == [(True, None), (False, None)]


@pytest.mark.parametrize(
    ("entry", "may"),
    [
        (ENTRY, True),
        (replace(ENTRY, status=404, sha256=None, size=None), True),
        (replace(ENTRY, status=401), False),
        (replace(ENTRY, status=403), False),
        (replace(ENTRY, stand_in="token"), False),
    ],
)
def test_challenges_and_tokens_answer_nobody_else(entry: Entry, may: bool) -> None:
    assert answers(entry) == may

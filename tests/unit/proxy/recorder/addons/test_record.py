"""What has come whole is stored, observed and logged; what has not leaves nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermit_proxy.recorder.addons.record import Record
from hermit_proxy.recorder.exchange import Exchange, Route
from hermit_proxy.run.events import Outcome
from hermit_proxy.store.body import BodyWriter, StoreFullError
from tests.support.workshop import Workshop, problem, workshop

RULES = """\
- {pattern: example.org/through, action: NO_STORE}
- {pattern: example.org/small, action: ALLOW, max_size: 10}
- {pattern: example.org/old, action: ALLOW, min_age: 3d}
- {pattern: example.org/.*, action: ALLOW}
"""
URL = "https://example.org/a"
Spoil = Callable[[Exchange], None]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, RULES) as made:
        yield made


def passed(
    shop: Workshop,
    body: bytes = b"body",
    status: int = 200,
    url: str = URL,
    method: str = "GET",
    *,
    spoil: Spoil = lambda _exchange: None,
    asked: dict[str, str] | None = None,
    **headers: str,
) -> tuple[Exchange, bytes]:
    """Let an answer pass; give its exchange and what the client got of it."""

    async def scenario() -> tuple[Exchange, bytes]:
        flow, exchange = shop.decided(url, method, **(asked or {}))
        answer = shop.answer(flow, status, body, **headers)
        record = Record(shop.shared)
        record.responseheaders(flow)
        got = b""
        if callable(answer.stream):
            for piece in (body[:3], body[3:]):
                got += b"".join(answer.stream(piece)) if piece else b""
            if exchange.problem is None and "cut" not in exchange.url:
                answer.stream(b"")
        spoil(exchange)
        await record.response(flow)
        return exchange, got

    return asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, 4, 200_000])
def test_a_whole_answer_is_stored_observed_and_known_to_the_run(shop: Workshop, size: int) -> None:
    body = b"x" * size
    exchange, got = passed(shop, body, content_type="text/plain")
    entry = exchange.entry
    assert entry is not None
    assert (got, exchange.outcome, entry.sha256) == (body, Outcome.RECORDED, hashlib.sha256(body).hexdigest())
    assert shop.shared.session.store.read(entry.sha256) == body
    assert shop.shared.session.evidence.observed(entry)
    assert exchange.request is not None
    assert shop.shared.session.snapshot.find(exchange.request, URL) == entry


def broken(exchange: Exchange) -> None:
    exchange.broken_off = True


def broken_without_length(exchange: Exchange) -> None:
    exchange.broken_off = exchange.until_close = True


@pytest.mark.parametrize(
    ("url", "spoil", "outcome"),
    [
        (URL, broken_without_length, "failed"),
        ("https://example.org/cut", lambda _exchange: None, "failed"),
        (URL, broken, None),
    ],
    ids=["only the connection ended it and that broke", "its end never came", "whole by its length"],
)
def test_only_what_has_come_whole_is_recorded(shop: Workshop, url: str, spoil: Spoil, outcome: str | None) -> None:
    exchange, _ = passed(shop, url=url, spoil=spoil)
    shop.shared.exchanges.close(exchange)
    assert (problem(exchange)[0] if exchange.problem else None) == outcome
    assert (exchange.entry is None) == (outcome is not None)
    assert len(list(shop.shared.session.store.bodies())) == (outcome is None)


@pytest.mark.parametrize(
    ("status", "url", "outcome", "kept"),
    [
        (200, URL, Outcome.RECORDED, 1),
        (200, "https://example.org/through", Outcome.PASSED, 0),
        (404, URL, Outcome.RECORDED, 0),
        (500, URL, Outcome.PASSED, 0),
        (206, URL, Outcome.PASSED, 0),
    ],
)
def test_what_is_kept_depends_on_rule_and_status(
    shop: Workshop, status: int, url: str, outcome: Outcome, kept: int
) -> None:
    exchange, got = passed(shop, status=status, url=url)
    assert (exchange.outcome, got) == (outcome, b"body")
    assert (exchange.entry is not None) == (outcome is Outcome.RECORDED)
    assert len(list(shop.shared.session.store.bodies())) == kept


def test_a_token_is_noted_and_not_stored(shop: Workshop) -> None:
    exchange, _ = passed(shop, b'{"token": "geheim"}', content_type="application/json")
    assert exchange.entry is not None
    assert (exchange.entry.stand_in, exchange.entry.sha256) == ("token", None)
    assert exchange.request is not None
    assert shop.shared.session.snapshot.find(exchange.request, URL) is None
    shop.shared.exchanges.close(exchange)
    assert list(shop.shared.session.store.bodies()) == []


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ({"range": "bytes=1-2"}, 206, b"od"),
        ({"range": "bytes=1-2", "if_range": '"x"'}, 200, b"body"),
        ({"range": "bytes=9-"}, 200, b"body"),
        ({}, 200, b"body"),
    ],
)
def test_a_part_is_cut_out_for_the_client_and_the_whole_is_stored(
    shop: Workshop, asked: dict[str, str], status: int, part: bytes
) -> None:
    exchange, got = passed(shop, asked=asked)
    assert got == part
    assert exchange.entry is not None
    assert (exchange.entry.status, exchange.entry.size, exchange.size) == (200, 4, len(part))
    assert (exchange.entry.header("content-range"), status == 206) == (None, len(part) == 2)


@pytest.mark.parametrize(
    ("url", "headers", "word"),
    [
        ("https://example.org/small", {}, "max_size"),
        ("https://example.org/small", {"transfer_encoding": "chunked"}, "max_size"),
        ("https://example.org/old", {"last_modified": "Fri, 01 Jan 2100 00:00:00 GMT"}, "min_age"),
    ],
    ids=["announced", "found out", "young"],
)
def test_what_the_rule_does_not_take_is_refused(shop: Workshop, url: str, headers: dict[str, str], word: str) -> None:
    exchange, got = passed(shop, b"x" * 11, url=url, **headers)
    assert problem(exchange)[0] == "refused"
    assert exchange.problem is not None
    assert word in exchange.problem.reason
    assert len(got) <= (10 if "transfer_encoding" in headers else 0)


@pytest.mark.parametrize("published", ["Fri, 01 Jan 2010 00:00:00 GMT", "no date", ""])
def test_what_is_old_or_of_no_known_age_passes(shop: Workshop, published: str) -> None:
    exchange, _ = passed(shop, url="https://example.org/old", last_modified=published)
    assert exchange.outcome is Outcome.RECORDED


def test_a_store_without_room_fails_the_request_and_the_run(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> BodyWriter:
        raise StoreFullError("no room for a body")

    monkeypatch.setattr(shop.shared.session.store, "writer", full)
    exchange, _ = passed(shop)
    assert problem(exchange)[0] == "failed"
    assert [str(error) for error in shop.alarms] == ["no room for a body"]
    assert exchange.entry is None


@pytest.mark.parametrize(
    ("status", "replay", "outcome"),
    [
        (200, True, Outcome.REPLAYED),
        (200, False, Outcome.PASSED),
        (422, False, Outcome.REFUSED),
        (404, True, Outcome.REPLAYED),
        (500, True, Outcome.FAILED),
    ],
)
def test_an_answer_of_our_own_engine_is_a_replay_or_an_upload(
    shop: Workshop, status: int, replay: bool, outcome: Outcome
) -> None:
    async def scenario() -> Exchange:
        flow, exchange = shop.decided(URL)
        exchange.route = Route("http", "127.0.0.1", 9, internal=True)
        exchange.decision = exchange.decision if replay else None
        shop.answer(flow, status)
        await Record(shop.shared).response(flow)
        return exchange

    event = asyncio.run(scenario()).event()
    assert event.outcome is outcome

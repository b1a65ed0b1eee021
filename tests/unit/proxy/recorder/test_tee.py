"""A tee passes on what may pass, never an empty piece, and nothing after a problem."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from hermit_proxy.credentials.scan import SecretScanner
from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.recorder.sink import HIGH, PRELUDE, Sink
from hermit_proxy.recorder.tee import Tee, Window
from hermit_proxy.run.events import Outcome
from hermit_proxy.store.body import Body, StoreFullError
from hermit_proxy.store.files import FileStore


def make(**options: object) -> tuple[Tee, Exchange, list[str]]:
    exchange = Exchange("client", "GET", "https://example.org/")
    calls: list[str] = []
    tee = Tee(exchange, delivered=lambda: None, stop=lambda: calls.append("stop"), **options)  # type: ignore[arg-type]  # any of them
    return tee, exchange, calls


def test_all_pieces_pass_and_the_end_gives_none() -> None:
    tee, exchange, _ = make()
    assert [tee(b"ab"), tee(b"c"), tee(b"")] == [[b"ab"], [b"c"], []]
    assert (exchange.size, tee.ended) == (3, True)


@pytest.mark.parametrize("split", range(1, 14))
def test_a_secret_that_is_split_over_pieces_never_begins_to_pass(split: int) -> None:
    text = b"one secret-word two"
    tee, exchange, calls = make(scanner=SecretScanner([b"secret-word"]))
    sent = b"".join(tee(text[:split]) + tee(text[split:]) + tee(b""))
    assert b"one ".startswith(sent)
    assert exchange.problem is not None
    assert exchange.problem.outcome is Outcome.REFUSED
    assert calls == ["stop"]


def test_a_window_passes_its_part_and_counts_the_whole() -> None:
    tee, exchange, _ = make(window=Window(2, 5))
    assert tee(b"abc") + tee(b"de") + tee(b"fgh") + tee(b"") == [b"c", b"de"]
    assert (exchange.size, exchange.received) == (3, 8)


def test_a_body_over_the_limit_stops_before_the_piece_that_is_too_much() -> None:
    tee, exchange, calls = make(max_size=4)
    assert tee(b"abcd") == [b"abcd"]
    assert tee(b"e") == tee(b"f") == tee(b"") == []
    assert exchange.problem is not None
    assert calls == ["stop"]


class Broken:
    def write(self, _chunk: bytes) -> None:
        raise StoreFullError("no room for a body")

    def commit(self, _expected: str | None = None) -> Body:
        raise AssertionError

    def abort(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


def test_a_full_store_ends_the_answer_and_says_so() -> None:
    async def scenario() -> Exchange:
        with ThreadPoolExecutor(1) as pool:
            sink = Sink(Broken, pool)
            tee, exchange, _ = make(sink=sink)
            tee(b"x" * (PRELUDE + 1))
            with pytest.raises(StoreFullError):
                await sink.commit(lambda body: body)
            assert tee(b"more") == []
            return exchange

    problem = asyncio.run(scenario()).problem
    assert problem is not None
    assert "no room" in problem.reason


@pytest.mark.parametrize("size", [0, 1, PRELUDE, PRELUDE + 1, 3 << 20])
def test_a_sink_brings_a_body_of_any_size_to_the_store(tmp_path: Path, size: int) -> None:
    async def scenario() -> bytes:
        store = FileStore(tmp_path)
        with ThreadPoolExecutor(2) as pool:
            sink = Sink(store.writer, pool)
            for start in range(0, size, 10_000):
                sink.write(b"x" * min(10_000, size - start))
            body = await sink.commit(lambda body: body)
            assert body.size == size
            return store.read(body.sha256)

    assert asyncio.run(scenario()) == b"x" * size


def test_a_dropped_sink_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    async def scenario() -> FileStore:
        store = FileStore(tmp_path)
        with ThreadPoolExecutor(1) as pool:
            sink = Sink(store.writer, pool)
            sink.write(b"x" * (3 << 20))
            sink.drop()
        return store

    store = asyncio.run(scenario())
    assert list(store.bodies()) == []
    assert store.stats().unfinished == 0


def test_whoever_reads_the_network_waits_while_the_thread_is_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = FileStore(tmp_path)
        with ThreadPoolExecutor(1) as pool:
            sink = Sink(store.writer, pool)
            sink.write(b"x" * HIGH)
            assert sink.full
            await sink.room()
            assert not sink.full
            await sink.commit(lambda body: body)

    asyncio.run(scenario())


def test_what_must_not_be_kept_is_only_looked_at(tmp_path: Path) -> None:
    async def scenario() -> tuple[bytes | None, bytes | None]:
        with ThreadPoolExecutor(1) as pool:
            small, large = (Sink(FileStore(tmp_path).writer, pool, keep=False) for _ in range(2))
            small.write(b"token")
            large.write(b"x" * (PRELUDE + 1))
            small_body, large_body = small.gathered, large.gathered
            small.drop()
        return small_body, large_body

    assert asyncio.run(scenario()) == (b"token", None)
    assert list(FileStore(tmp_path).bodies()) == []

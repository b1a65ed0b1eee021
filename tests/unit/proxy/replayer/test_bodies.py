"""Tests that bodies come verified, that memory for them is bounded, and that failures are named."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError
from hermit_proxy.replayer import bodies as module
from hermit_proxy.replayer.answer import Answer
from hermit_proxy.replayer.bodies import SMALL, Bodies, cut
from hermit_proxy.replayer.site import Incoming, Reply
from hermit_proxy.request.target import parse_url
from hermit_proxy.store.files import FileStore
from tests.support.pagecache import needs_nowait

INCOMING = Incoming(b"", "GET", parse_url("https://x.example.org/f"), {}, 0, keep_alive=True, tunnel=None)


class Shelf:
    """Is a store with a body, and what its Bodies gave."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder)
        self.failures: list[HermitError] = []
        self.bodies = Bodies(self.store, ThreadPoolExecutor(1))

    def put(self, body: bytes) -> Answer:
        with self.store.writer() as writer:
            writer.write(body)
            writer.commit()
        digest = hashlib.sha256(body).hexdigest()
        return Answer(200, (), len(body), sha256=digest, stop=len(body), total=len(body))

    def reply(self, answer: Answer) -> Reply:
        async def get() -> Reply:
            found = self.bodies.reply(INCOMING, answer, lambda _sent, _why: None, self.failures.append)
            return await found if isinstance(found, Awaitable) else found

        return asyncio.run(get())


@pytest.fixture(params=["in memory", "on disk"])
def shelf(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf(tmp_path / "store")
    if request.param == "on disk":  # No test can keep the kernel from having in memory what was just written.
        monkeypatch.setattr(shelf.store, "read_at_once", lambda _sha256, _size: None)
    return shelf


def test_what_is_in_memory_is_answered_without_a_promise(tmp_path: Path) -> None:
    needs_nowait(tmp_path)
    shelf = Shelf(tmp_path / "store")
    found = shelf.bodies.reply(INCOMING, shelf.put(b"small"), lambda _sent, _why: None, shelf.failures.append)
    assert isinstance(found, Reply)
    assert found.body == b"small"
    large = shelf.bodies.reply(INCOMING, shelf.put(bytes(SMALL + 1)), lambda _s, _w: None, shelf.failures.append)
    assert isinstance(large, Coroutine)
    large.close()


def test_a_small_body_is_read_once_and_kept(shelf: Shelf) -> None:
    answer = shelf.put(b"small")
    assert shelf.reply(answer).body == b"small"
    shelf.store.delete(answer.sha256 or "")
    assert shelf.reply(answer).body == b"small"


def test_a_large_body_is_given_as_a_file(shelf: Shelf) -> None:
    body = bytes(SMALL + 1)
    reply = shelf.reply(shelf.put(body))
    assert reply.file is not None
    with reply.file as file:
        assert file.read() == body


def test_what_is_kept_is_bounded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 10)
    first, second = shelf.put(b"123456"), shelf.put(b"abcdef")
    shelf.reply(first)
    shelf.reply(second)
    assert shelf.bodies.kept(first.sha256 or "") is None
    assert shelf.bodies.kept(second.sha256 or "") == b"abcdef"


def test_a_missing_body_is_a_failure_that_names_it(shelf: Shelf) -> None:
    answer = shelf.put(b"gone")
    shelf.store.delete(answer.sha256 or "")
    reply = shelf.reply(answer)
    assert reply.answer.status == 502
    assert (answer.sha256 or "?").encode() in reply.body
    assert not shelf.failures  # It is told when the answer goes out, as every line.
    reply.done(0, None)
    assert shelf.failures[0].hint == "hermit store fill"


@pytest.mark.parametrize("size", [10, SMALL + 10])
def test_a_body_of_another_size_than_the_entry_says_is_not_served(shelf: Shelf, size: int) -> None:
    answer = shelf.put(bytes(size))
    lie = Answer(200, (), size - 1, sha256=answer.sha256, stop=size - 1, total=size - 1)
    assert shelf.reply(lie).answer.status == 502


def test_a_part_is_cut_from_what_is_kept() -> None:
    assert cut(b"0123456789", Answer(206, (), 3, sha256="x", start=2, stop=5, total=10)) == b"234"
    whole = b"0123456789"
    assert cut(whole, Answer(200, (), 10, sha256="x", start=0, stop=10, total=10)) is whole

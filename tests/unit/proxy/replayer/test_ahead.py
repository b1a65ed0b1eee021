"""Tests which bodies are hashed before anybody asks, and that it ends when it is told to."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest

from hermit_proxy.replayer import ahead as module
from hermit_proxy.replayer.ahead import Ahead, chosen
from hermit_proxy.replayer.bodies import SMALL
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.files import FileStore


def entry(letter: str, size: int | None) -> Entry:
    return Entry("GET", f"https://x.example.org/{letter}", 200, sha256=letter * 64, size=size)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([SMALL], ""),
        ([SMALL + 1], "a"),
        ([None], ""),
        ([SMALL + 3, SMALL + 1, SMALL + 2], "bca"),
        ([SMALL + 2, 1000 * SMALL, SMALL + 1], "ca"),
    ],
)
def test_large_bodies_are_chosen_small_ones_first_up_to_a_bound(
    sizes: list[int | None], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 100 * SMALL)
    entries = [entry(letter, size) for letter, size in zip("abcdef", sizes, strict=False)]
    assert chosen([*entries, *entries]) == [(letter * 64, sizes["abcdef".index(letter)]) for letter in expected]


def test_what_has_no_body_is_not_chosen() -> None:
    assert chosen([Entry("HEAD", "https://x.example.org/", 200, size=SMALL + 1)]) == []


class Noting(FileStore):
    """Is a store that says what was hashed ahead, and waits to be told to go on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hashed: queue.Queue[str] = queue.Queue()
        self.on = threading.Event()

    def hash_ahead(self, sha256: str, size: int) -> None:  # noqa: ARG002  a Store is told
        self.hashed.put(sha256[0])
        self.on.wait(30)


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noting:
    monkeypatch.setattr(module, "_LATER", 0)
    monkeypatch.setattr(module, "_REST", 0)
    return Noting(tmp_path / "store")


def test_each_is_hashed_once_in_one_thread(store: Noting) -> None:
    ahead = Ahead(store, [entry("a", SMALL + 1), entry("b", SMALL + 2)])
    ahead.start()
    ahead.start()
    assert store.hashed.get(timeout=30) == "a"
    (thread,) = running()
    store.on.set()
    assert store.hashed.get(timeout=30) == "b"
    thread.join(30)
    assert (thread.is_alive(), store.hashed.empty()) == (False, True)


def test_it_ends_after_the_body_at_which_it_is_stopped(store: Noting) -> None:
    ahead = Ahead(store, [entry("a", SMALL + 1), entry("b", SMALL + 2)])
    ahead.start()
    assert store.hashed.get(timeout=30) == "a"
    ahead.stop()
    ahead.stop()
    (thread,) = running()
    store.on.set()
    thread.join(30)
    assert (thread.is_alive(), store.hashed.empty()) == (False, True)


def test_there_is_no_thread_where_there_is_nothing_to_do(store: Noting) -> None:
    Ahead(store, [entry("a", 1)]).start()
    assert running() == []

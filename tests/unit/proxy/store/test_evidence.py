"""An entry counts when enough observers saw exactly it, in this pool; everything else is a no."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.evidence import PoolEvidence
from hermit_proxy.store.files import FileStore
from hermit_proxy.store.observation import Observation

ENTRY = Entry("GET", "https://registry.example.org/a", 200, sha256="c" * 64, size=3)


def see(store: FileStore, entry: Entry, observer: str = "one", pool: str = "p", sha256: str | None = None) -> None:
    store.observe(pool, Observation(entry.id, sha256 or entry.sha256, observer, "run", 1.0))


def test_nothing_is_observed_in_an_empty_store(tmp_path: Path) -> None:
    assert not PoolEvidence(FileStore(tmp_path / "s"), "p").observed(ENTRY)


def test_an_observation_counts_as_soon_as_it_is_there_and_only_in_its_pool(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    evidence, elsewhere = PoolEvidence(store, "p"), PoolEvidence(store, "q")
    assert not evidence.observed(ENTRY)
    see(store, ENTRY)
    assert evidence.observed(ENTRY)
    assert not elsewhere.observed(ENTRY)


@pytest.mark.parametrize(
    "change",
    [{"sha256": "d" * 64}, {"size": 4}, {"status": 404}, {"headers": (("etag", "x"),)}, {"method": "HEAD"}],
)
def test_an_edited_entry_is_not_the_one_that_was_observed(tmp_path: Path, change: dict[str, object]) -> None:
    store = FileStore(tmp_path / "s")
    see(store, ENTRY)
    assert not PoolEvidence(store, "p").observed(replace(ENTRY, **change))  # type: ignore[arg-type]  # a table


def test_an_observation_of_another_digest_under_the_same_id_does_not_count(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    see(store, ENTRY, sha256="d" * 64)
    assert not PoolEvidence(store, "p").observed(ENTRY)


def test_two_observers_are_two_and_one_who_looked_twice_is_one(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    evidence = PoolEvidence(store, "p", required_observers=2)
    see(store, ENTRY)
    see(store, ENTRY)
    assert not evidence.observed(ENTRY)
    see(store, ENTRY, "two")
    assert evidence.observed(ENTRY)


def test_an_entry_without_observers_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        PoolEvidence(FileStore(tmp_path / "s"), "p", required_observers=0)


def test_a_body_is_there_when_the_store_has_it_or_none_is_named(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    evidence = PoolEvidence(store, "p")
    with store.writer() as writer:
        writer.write(b"abc")
        body = writer.commit()
    assert evidence.has_body(replace(ENTRY, sha256=body.sha256))
    assert not evidence.has_body(ENTRY)
    assert evidence.has_body(replace(ENTRY, sha256=None, size=None))
    store.delete(body.sha256)
    assert not evidence.has_body(replace(ENTRY, sha256=body.sha256))

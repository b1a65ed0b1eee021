"""What vouches for an entry must be read back exactly, and nothing damaged or foreign may vouch for anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hermit_proxy.store.observation import Observation, escape_pool, observer_id, read_observations

ENTRY, OTHER, BODY = "a" * 64, "b" * 64, "c" * 64


def note(observer: str = "one", time: float = 1.5, entry_id: str = ENTRY) -> Observation:
    return Observation(entry_id, BODY, observer, "run-1", time)


def test_an_observation_is_read_back_as_it_was_written() -> None:
    for observation in (note(), Observation(ENTRY, None, "é" * 200, "", 0.0)):
        assert Observation.from_json(observation.to_json()) == observation


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"entry":"x"}'])
def test_a_damaged_line_is_no_observation(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  UnicodeDecodeError and JSONDecodeError are kinds of it
        Observation.from_json(line)


@pytest.mark.parametrize(
    ("entry_id", "sha256", "observer", "run"),
    [
        ("A" * 64, BODY, "one", "r"),
        ("../x", BODY, "one", "r"),
        (ENTRY, "c" * 63, "one", "r"),
        (ENTRY, BODY, "", "r"),
        (ENTRY, BODY, "o" * 201, "r"),
        (ENTRY, BODY, "one", "r" * 201),
    ],
)
def test_what_could_not_be_a_file_or_a_field_is_refused(entry_id: str, sha256: str, observer: str, run: str) -> None:
    with pytest.raises(ValueError, match=r"digests|characters"):
        Observation(entry_id, sha256, observer, run, 0.0)


def test_the_latest_of_each_observer_counts_and_foreign_or_damaged_lines_do_not() -> None:
    notes = [note("two", 3.0), note("one", 2.0), note("one", 1.0), note("three", 9.0, OTHER)]
    lines = [b"garbage", *(n.to_json().encode() for n in notes)]
    assert read_observations(lines, ENTRY) == (note("one", 2.0), note("two", 3.0))


@pytest.mark.parametrize("pool", ["github.com/org/repo", "..", ".", ".hidden", "a b\0c\n", "ä", "%2F", "x" * 200])
def test_a_pool_of_any_name_becomes_one_safe_path_segment(pool: str) -> None:
    name = escape_pool(pool)
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()
    assert name.isprintable()


@pytest.mark.parametrize("pool", ["", "x" * 201, "/" * 70])
def test_a_pool_without_a_name_or_with_an_endless_one_is_refused(pool: str) -> None:
    with pytest.raises(ValueError, match="1 to 200"):
        escape_pool(pool)


def test_an_installation_keeps_its_id_and_two_installations_differ(tmp_path: Path) -> None:
    here, there = {"HOME": str(tmp_path / "a")}, {"XDG_STATE_HOME": str(tmp_path / "b")}
    assert observer_id(here) == observer_id(here)
    assert observer_id(here) != observer_id(there)
    assert [p.name for p in (tmp_path / "b" / "hermit").iterdir()] == ["observer"]


def test_first_calls_at_once_agree_on_one_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(observer_id, [{"HOME": str(tmp_path)}] * 32))) == 1


def test_a_damaged_id_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "hermit" / "observer"
    path.parent.mkdir()
    path.write_bytes(b"\xff\n")
    made = observer_id({"XDG_STATE_HOME": str(tmp_path)})
    assert len(made) == 32
    assert observer_id({"XDG_STATE_HOME": str(tmp_path)}) == made

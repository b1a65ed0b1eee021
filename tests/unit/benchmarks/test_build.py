"""A run takes each sample each way in turn, tells a sample that fails, and leaves nothing when it is stopped."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import build
import buildturn
import distance
import measure
import pytest
import samples
from buildfigures import HERMETIC, KINDS, RECORDED, STRAIGHT
from buildturn import Turn, Wire
from distance import Way

from hermit_proxy.errors import HermitError

WAYS = (Way(), Way(20))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Have no build run, and give the kinds and distances that were asked for."""
    asked: list[tuple[str, int]] = []

    def turn(kind: str, way: Way) -> Turn:
        asked.append((kind, way.away))
        return Turn(1.0, 0.0, None if kind == STRAIGHT else Wire(1, 1, 0.1, 0.1))

    monkeypatch.setattr(samples.Place, "image", lambda *_: Path("image"))
    monkeypatch.setattr(buildturn, "direct", lambda _tree, way: turn(STRAIGHT, way))
    names = {"record": RECORDED, "hermetic": HERMETIC}
    monkeypatch.setattr(buildturn, "hermit", lambda _place, _project, mode, way: turn(names[mode], way))
    return asked


def test_all_kinds_have_their_turn_at_each_distance_before_the_next_round(
    tmp_path: Path, taken: list[tuple[str, int]]
) -> None:
    built = build.built(samples.Place(tmp_path), "nothing", WAYS, 3)
    once = [(kind, way.away) for way in WAYS for kind in KINDS]
    assert taken == once * 3
    assert {away: {kind: len(turns) for kind, turns in kinds.items()} for away, kinds in built.items()} == {
        0: dict.fromkeys(KINDS, 3),
        20: dict.fromkeys(KINDS, 3),
    }


def test_what_takes_half_a_minute_has_fewer_turns(
    tmp_path: Path, taken: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "LONG", {"nothing"})
    build.built(samples.Place(tmp_path), "nothing", WAYS, 3)
    assert len(taken) == 2 * 3 * 2
    taken.clear()
    build.built(samples.Place(tmp_path), "nothing", WAYS, 1)
    assert len(taken) == 1 * 3 * 2


def test_what_is_long_is_a_sample() -> None:
    assert set(samples.NAMES) >= samples.LONG


def test_a_distance_that_cannot_be_ends_the_run_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], taken: list[tuple[str, int]]
) -> None:
    def refuse(milliseconds: int) -> None:
        raise HermitError(f"not {milliseconds}", hint="do this")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(distance, "away", refuse)
    monkeypatch.setattr(measure, "come_first", lambda: None)
    monkeypatch.setattr(sys, "argv", ["build.py", "--away", "7", "--only", "nothing"])
    try:
        assert build.main() == 4
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "not 7\ndo this\n"
    assert not taken

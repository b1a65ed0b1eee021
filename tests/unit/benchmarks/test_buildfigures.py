"""The figures of builds are medians, say what a build costs beyond straight, and what of it was the proxy's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import build
from buildfigures import HERMETIC, KINDS, RECORDED, STRAIGHT, Figures, Start, label, seconds, shares
from buildturn import Turn, Wire


def turns(*seconds: float, others: float = 0.02, requests: int = 8) -> list[Turn]:
    """Make turns with a proxy that used a tenth of their time and had something open for half of it."""
    return [Turn(one, others, Wire(requests, 2_500_000 * requests, one / 10, one / 2)) for one in seconds]


def straight(*seconds: float, others: float = 0.01) -> list[Turn]:
    return [Turn(one, others) for one in seconds]


FAST = {STRAIGHT: straight(0.1, 0.1, 0.1), RECORDED: turns(1.0, 1.1, 1.2, requests=0), HERMETIC: turns(0.7, requests=0)}
LARGE = {
    STRAIGHT: straight(20, 30, 10, others=0.03),
    RECORDED: turns(26, 2, 40, others=0.5),
    HERMETIC: turns(15, 19, 70),
}
FAR = {STRAIGHT: straight(22, 40, 21), RECORDED: turns(30, 30, 30), HERMETIC: turns(11, 11, 11)}
FIGURES = Figures("made up", Start(0.14, 0.04), {"nothing": {0: FAST}, "cargo-large": {0: LARGE}})
BOTH = replace(
    FIGURES, builds={"nothing": {0: FAST, 20: FAST}, "go": {0: LARGE, 20: FAR}}, connects={0: 0.0004, 20: 0.02051}
)


def row(figures: Figures, what: str, away: str = "next door") -> list[str]:
    """Give the cells of a row but for its distance."""
    (line,) = (line for line in figures.table().splitlines() if line.startswith(f"| {what} | {away} |"))
    line = line.replace(f" {away} |", "")
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_tells_medians_and_what_a_build_takes_beyond_straight() -> None:
    told = ["cargo, large", "8, 20.0 MB", "20.0 s", "26.0 s", "1.30, +6.00 s", "10%, 50%"]
    assert row(FIGURES, "cargo, large") == [*told, "19.0 s", "0.95, -1.00 s", "10%, 50%"]


def test_a_build_that_asks_for_nothing_shows_the_fixed_cost() -> None:
    told = ["nothing", "none", "0.10 s", "1.10 s", "11.00, +1.00 s"]
    assert row(FIGURES, "nothing")[:5] == told


def test_every_row_has_a_cell_for_every_column() -> None:
    table = [line for line in FIGURES.table().splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1


def test_shares_are_of_each_build_itself() -> None:
    uneven = [Turn(1.0, 0.0, Wire(1, 1, 0.5, 0.9)), Turn(10.0, 0.0, Wire(1, 1, 0.5, 1.0))]
    assert shares(uneven) == (0.275, 0.5)
    assert seconds(uneven) == 5.5


def test_small_shares_are_told_finer() -> None:
    small = {**LARGE, HERMETIC: [Turn(10.0, 0.0, Wire(1, 1, 0.25, 0.0))]}
    assert row(Figures("", Start(0, 0), {"go": {0: small}}), "go")[-1] == "2.5%, 0%"


def test_what_others_took_of_the_machine_is_told_for_each_kind() -> None:
    told = "straight 2% (at worst 3%), recorded 26% (at worst 50%), hermetic 2% (at worst 2%)"
    assert told in FIGURES.table()


def test_a_sample_that_failed_is_named_and_the_others_are_told() -> None:
    figures = Figures("", Start(0, 0), {"go": {0: LARGE}}, ["cargo-large", "npm"])
    assert "Failed, and not in the table: cargo, large, npm." in figures.table()
    assert row(figures, "go")
    assert "Failed" not in FIGURES.table()


def test_figures_without_any_build_are_told_all_the_same() -> None:
    figures = Figures("", Start(0.14, 0.04), {}, ["go"])
    assert "0.10 s" in figures.table()


def test_what_is_written_is_told_as_it_was(tmp_path: Path) -> None:
    figures = replace(BOTH, failed=["npm"])
    build.write(tmp_path, figures)
    assert build.read(tmp_path) == figures
    assert build.tell(tmp_path) == figures.table() == (tmp_path / "build.md").read_text()
    assert json.loads((tmp_path / "build.json").read_text())["time"] > 0
    assert (tmp_path / "build.svg").read_text() == BOTH.picture()


def test_results_from_before_there_was_a_distance_are_told_as_next_door(tmp_path: Path) -> None:
    figures = replace(FIGURES, failed=[])
    build.write(tmp_path, figures)
    document = json.loads((tmp_path / "build.json").read_text())
    del document["connects"]
    document["builds"] = {name: distances["0"] for name, distances in document["builds"].items()}
    for kinds in document["builds"].values():
        for one in (turn for turns in kinds.values() for turn in turns):
            del one["carried"]
    (tmp_path / "build.json").write_text(json.dumps(document))
    assert build.read(tmp_path) == figures
    assert "TCP" not in FIGURES.table()


def test_each_distance_has_a_row_that_is_held_against_straight_at_the_same_distance() -> None:
    assert row(BOTH, "go")[2:5] == ["20.0 s", "26.0 s", "1.30, +6.00 s"]
    far = row(BOTH, "go", "20 ms away")
    assert far[2:5] == ["22.0 s", "30.0 s", "1.36, +8.00 s"]
    assert far[6:8] == ["11.0 s", "0.50, -11.00 s"]
    assert len({line.count("|") for line in BOTH.table().splitlines() if line.startswith("|")}) == 1


def test_the_table_says_how_far_away_a_connection_was_and_what_holding_the_packets_took() -> None:
    assert "A TCP connection to the registries took: next door 0.4 ms, 20 ms away 20.5 ms." in BOTH.table()
    carried = {**FAR, RECORDED: [replace(turn, carried=turn.seconds / 40) for turn in FAR[RECORDED]]}
    assert "at worst 2.5% of one core" in replace(BOTH, builds={"go": {0: LARGE, 20: carried}}).table()
    near = replace(BOTH, connects={0: 0.0004})
    assert "packets" not in near.table()


def test_the_picture_has_both_distances_of_a_build_beside_each_other() -> None:
    picture = ET.fromstring(BOTH.picture())  # noqa: S314  it is our own
    found = {text.text: text.attrib for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    near, far = found["go, registries next door"], found["go, registries 20 ms away"]
    assert near["y"] == far["y"]
    assert float(near["x"]) < float(far["x"])


def test_the_picture_has_each_build_with_all_its_kinds() -> None:
    picture = ET.fromstring(FIGURES.picture())  # noqa: S314  it is our own
    texts = [text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    for name in FIGURES.builds:
        assert f"{label(name)}, registries next door" in texts
    for kind in KINDS:
        assert texts.count(kind) == 2
    assert "19.0 s (0.95)" in texts

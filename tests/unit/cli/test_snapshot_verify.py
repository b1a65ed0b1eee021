"""`hermit snapshot verify` names every entry that a hermetic run could not answer."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.recorded import RecordedProject, entry, hermit

GOOD = entry("/good")
OTHER = entry("/other", b"another body")


@pytest.fixture
def project(tmp_path: Path) -> RecordedProject:
    """Make a project whose two entries are observed, with their bodies."""
    project = RecordedProject(tmp_path / "p")
    project.record(GOOD, OTHER)
    project.observe(GOOD)
    project.observe(OTHER, b"another body")
    return project


def test_a_good_snapshot_says_so_and_exits_with_0(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "verify") == 0
    assert capsys.readouterr().out == f"{project.network}: 2 entries, all observed, all bodies right (16 B)\n"


def bad(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    assert hermit("snapshot", "verify", "--json") == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown["good"] == shown["entries"] - len(shown["bad"])
    return [(one["url"].partition(".org")[2], one["problem"]) for one in shown["bad"]]


def test_an_edited_entry_is_named(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.record(GOOD, replace(OTHER, sha256=GOOD.sha256, size=GOOD.size))
    assert bad(capsys) == [("/other", "nobody observed this answer")]


def test_an_edited_header_alone_is_named(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.record(GOOD, replace(OTHER, headers=(("content-type", "text/html"),)))
    assert bad(capsys) == [("/other", "nobody observed this answer")]


def test_an_entry_that_was_added_by_hand_is_named(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.record(GOOD, OTHER, entry("/added", None, status=404))
    assert bad(capsys) == [("/added", "nobody observed this answer")]


def test_an_observation_of_another_pool_does_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = RecordedProject(tmp_path / "p")
    project.record(GOOD)
    project.observe(GOOD, pool="another")
    assert bad(capsys) == [("/good", "nobody observed this answer")]


def test_a_missing_body_is_named(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.body_file(OTHER).unlink()
    assert bad(capsys) == [("/other", "its body is not in the store")]


def test_a_body_with_one_bit_flipped_is_named_and_put_aside(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project.body_file(OTHER)
    file.chmod(0o600)
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    assert bad(capsys) == [("/other", "its body in the store was corrupt, and has been put aside")]
    assert bad(capsys) == [("/other", "its body is not in the store")]


def test_a_size_that_lies_is_named(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    lying = replace(OTHER, size=3)
    project.record(GOOD, lying)
    project.observe(lying, None)
    assert bad(capsys) == [("/other", "its body has 12 bytes, not the 3 that the entry says")]


def test_two_observers_are_needed_where_the_settings_say_so(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.record(GOOD)
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit/config.yaml"
    config.parent.mkdir()
    config.write_text("observers: 2\n")
    assert bad(capsys) == [("/good", "observed by 1 of the 2 that the settings ask for")]


def test_people_are_told_the_names_and_the_next_step(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.body_file(OTHER).unlink()
    assert hermit("snapshot", "verify") == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{project.network}: 1 of 2 entries cannot be replayed"
    assert lines[2] == "  GET  https://one.example.org/other  its body is not in the store"
    assert lines[4].startswith("next: hermit store fill")


def test_mistakes_in_files_are_bad_input(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    (project.network / "one.example.org.yaml").write_text("version: 2\nentries: [1]\n")
    assert hermit("snapshot", "verify") == 2
    assert "one.example.org.yaml:2:" in capsys.readouterr().err


def test_an_empty_snapshot_is_nothing_to_complain_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RecordedProject(tmp_path / "p")
    assert hermit("snapshot", "verify") == 0
    assert "nothing is recorded yet" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_recording_of_nothing_is_told_as_one(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = RecordedProject(tmp_path / "p")
    project.network.parent.mkdir(exist_ok=True)
    (project.network.parent / "recorded").write_text("2024-05-01T12:00:00Z\n")
    assert hermit("snapshot", command) == 0
    said = capsys.readouterr().out
    assert "the build that was recorded asked for nothing\nnext: hermit build --mode hermetic" in said

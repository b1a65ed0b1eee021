"""`hermit snapshot migrate` and `prune` rewrite the record and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hermit_proxy.snapshot import recorded
from hermit_proxy.snapshot.tree import read_tree
from tests.support.recorded import RecordedProject, entry, hermit, replayed

FIXTURES = Path(__file__).parents[2] / "fixtures" / "hermit-v1"
USED, UNUSED = entry("/used"), entry("/unused", host="two.example.org")


@pytest.fixture
def old(tmp_path: Path) -> RecordedProject:
    """Make a project of the first Hermit."""
    project = RecordedProject(tmp_path / "old")
    shutil.copytree(FIXTURES / "debian-bullseye" / "network", project.network)
    return project


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_old_files_become_entries_of_one_scheme(
    old: RecordedProject, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_tree(old.network)
    names = sorted(path.name for path in old.network.iterdir())
    assert hermit("snapshot", "migrate", "--scheme", scheme, "--json") == 0
    assert json.loads(capsys.readouterr().out)["migrated"] == names
    after = read_tree(old.network)
    assert len(before) == 2 * len(after) > 0
    assert {e for e in before if e.url.startswith(f"{scheme}://")} == set(after)
    assert all(
        path.read_text().startswith("version: 2\n") or "version: 2" in path.read_text()
        for path in old.network.iterdir()
    )


def test_migrating_twice_changes_nothing_and_says_so(old: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "migrate") == 0
    files = {path.name: path.read_bytes() for path in old.network.iterdir()}
    capsys.readouterr()
    assert hermit("snapshot", "migrate") == 0
    assert capsys.readouterr().out == f"{old.network}: no file of the first Hermit is left\n"
    assert {path.name: path.read_bytes() for path in old.network.iterdir()} == files


@pytest.fixture
def project(tmp_path: Path) -> RecordedProject:
    project = RecordedProject(tmp_path / "p")
    project.record(USED, UNUSED)
    return project


def test_prune_drops_what_the_last_good_run_did_not_use(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    time = recorded.read(project.network.parent)
    project.log(replayed(UNUSED), run="20240101T000000-000001aaaa")
    project.log(replayed(USED), run="20240102T000000-000001aaaa")
    assert hermit("snapshot", "prune") == 0
    assert set(read_tree(project.network)) == {USED}
    assert [path.name for path in project.network.iterdir()] == ["one.example.org.yaml"]
    # Nothing was recorded, so the clock of builds stays.
    assert recorded.read(project.network.parent) == time
    assert "dropped 1 of 2 entries" in capsys.readouterr().out


@pytest.mark.parametrize("exit_code", [1, 3, 4, None])
def test_a_run_that_did_not_succeed_prunes_nothing(project: RecordedProject, exit_code: int | None) -> None:
    project.log(replayed(USED), exit_code=exit_code)
    assert hermit("snapshot", "prune") == 2
    assert len(read_tree(project.network)) == 2


def test_an_older_good_run_counts_behind_a_failed_one(project: RecordedProject) -> None:
    project.log(replayed(USED), run="20240101T000000-000001aaaa")
    project.log(run="20240102T000000-000001aaaa", exit_code=1)
    assert hermit("snapshot", "prune") == 0
    assert set(read_tree(project.network)) == {USED}


def test_another_projects_run_prunes_nothing_here(project: RecordedProject, tmp_path: Path) -> None:
    project.log(replayed(USED))
    other = RecordedProject(tmp_path / "other")
    other.record(USED, UNUSED)
    assert hermit("snapshot", "prune") == 2
    assert len(read_tree(other.network)) == 2


def test_a_person_may_vouch_for_a_log(project: RecordedProject) -> None:
    log = project.log(replayed(USED), exit_code=None)
    assert hermit("snapshot", "prune", "--log", log) == 0
    assert set(read_tree(project.network)) == {USED}


def test_a_log_that_used_nothing_does_not_empty_the_snapshot(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    log = project.log(replayed(entry("/elsewhere")))
    assert hermit("snapshot", "prune", "--log", log) == 2
    assert "would drop all of 2 entries" in capsys.readouterr().err
    assert len(read_tree(project.network)) == 2


def test_a_dry_run_tells_and_does_nothing(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.log(replayed(USED))
    assert hermit("snapshot", "prune", "--dry-run", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert ([one["url"] for one in shown["dropped"]], shown["kept"], shown["dry_run"]) == ([UNUSED.url], 1, True)
    assert len(read_tree(project.network)) == 2


def test_pruning_twice_drops_nothing_more(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.log(replayed(USED))
    hermit("snapshot", "prune")
    capsys.readouterr()
    assert hermit("snapshot", "prune") == 0
    assert "dropped 0 of 1 entry" in capsys.readouterr().out

"""`hermit store` counts, checks and tidies; what it deletes is named by nobody."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from hermit_cli.place import find_place
from hermit_proxy.snapshot.entry import Entry
from tests.support.gitserver import git
from tests.support.recorded import RecordedProject, entry, hermit

NAMED, FORGOTTEN = entry("/named", b"named"), entry("/forgotten", b"forgotten")


@pytest.fixture
def project(tmp_path: Path) -> RecordedProject:
    """Make a project that names one of two bodies, both older than any grace time in these tests."""
    project = RecordedProject(tmp_path / "p")
    for one, body in ((NAMED, b"named"), (FORGOTTEN, b"forgotten")):
        project.observe(one, body)
        age(project, one)
    project.record(NAMED)
    project.commit("recorded")
    return project


def age(project: RecordedProject, one: Entry, days: float = 30) -> None:
    """Make a body and all observations as old as if they had been forgotten."""
    then = time.time() - days * 86400
    os.utime(project.body_file(one), (then, then))
    with find_place().store() as store:
        for path in (Path(store.where) / "pools").rglob("*.json"):
            os.utime(path, (then, then))


def output(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


def test_stats_count_bodies_bytes_and_observations(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hermit("store", "stats", "--json") == 0
    shown = output(capsys)
    assert (shown["bodies"], shown["bytes"]) == (2, 14)
    assert shown["pools"] == {find_place().pool: 2}
    assert hermit("store", "stats") == 0
    told = capsys.readouterr().out
    assert f"this project's pool is {find_place().pool}" in told
    assert project.root.name in told


def test_verify_names_the_corrupt_body(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("store", "verify") == 0
    assert "2 bodies right (14 B), 0 corrupt" in capsys.readouterr().out
    file = project.body_file(NAMED)
    file.chmod(0o600)
    file.write_bytes(b"Named")
    assert hermit("store", "verify", "--json") == 4
    shown = output(capsys)
    assert (shown["good"], [one["sha256"] for one in shown["corrupt"]]) == (1, [NAMED.sha256])
    assert not file.exists()


def test_gc_deletes_what_nothing_names(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("store", "gc", "--json") == 0
    shown = output(capsys)
    assert [shown[name] for name in ("deleted", "bytes", "observations", "kept", "young")] == [1, 9, 1, 1, 0]
    assert project.body_file(NAMED).exists()
    assert not project.body_file(FORGOTTEN).exists()


def test_a_dry_run_deletes_nothing(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("store", "gc", "--dry-run") == 0
    assert "1 body would be deleted (9 B)" in capsys.readouterr().out
    assert project.body_file(FORGOTTEN).exists()


@pytest.mark.parametrize(("grace", "deleted"), [("29d", True), ("31d", False), ("5w", False), ("0s", True)])
def test_what_is_younger_than_the_grace_time_stays(project: RecordedProject, grace: str, deleted: bool) -> None:
    assert hermit("store", "gc", "--grace", grace) == 0
    assert project.body_file(FORGOTTEN).exists() != deleted


@pytest.mark.parametrize("grace", ["", "3", "d", "-1d", "1.5d", "1y"])
@pytest.mark.usefixtures("project")
def test_a_grace_time_that_is_none_is_a_usage_error(grace: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        hermit("store", "gc", f"--grace={grace}")


@pytest.mark.parametrize("ref", ["branch", "tag", "stash"])
def test_what_a_branch_a_tag_or_a_stash_names_stays(project: RecordedProject, ref: str) -> None:
    project.record(NAMED, FORGOTTEN)
    if ref == "stash":
        git("stash", cwd=project.root)
    else:
        project.commit("names it")
        git(ref, "old", cwd=project.root)
        project.record(NAMED)
        project.commit("does not")
    assert hermit("store", "gc") == 0
    assert project.body_file(FORGOTTEN).exists()


def test_what_only_the_work_tree_names_stays(project: RecordedProject) -> None:
    project.record(FORGOTTEN)
    assert hermit("store", "gc") == 0
    assert project.body_file(FORGOTTEN).exists()


@pytest.fixture
def another(project: RecordedProject, tmp_path: Path) -> RecordedProject:
    """Make a second project with a pool of its own in the same store, and stand in the first."""
    other = RecordedProject(tmp_path / "another")
    other.record(FORGOTTEN)
    other.observe(FORGOTTEN, b"forgotten")
    age(other, FORGOTTEN)
    other.commit("recorded")
    os.chdir(project.root)
    return other


def test_a_pool_of_a_repository_that_is_not_named_stops_everything(
    project: RecordedProject, another: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hermit("store", "gc") == 2
    told = capsys.readouterr().err
    assert another.root.name in told
    assert "--repo PATH" in told
    assert project.body_file(FORGOTTEN).exists()


def test_what_another_repository_names_stays(project: RecordedProject, another: RecordedProject) -> None:
    assert hermit("store", "gc", "--repo", another.root) == 0
    assert project.body_file(FORGOTTEN).exists()


def test_a_pool_may_be_given_up(project: RecordedProject, another: RecordedProject) -> None:
    os.chdir(another.root)
    pool = find_place().pool
    os.chdir(project.root)
    assert hermit("store", "gc", "--forget", pool) == 0
    assert not project.body_file(FORGOTTEN).exists()
    assert project.body_file(NAMED).exists()


def test_the_pool_of_a_named_repository_cannot_be_given_up(project: RecordedProject) -> None:
    assert hermit("store", "gc", "--forget", find_place().pool) == 2
    assert project.body_file(FORGOTTEN).exists()


def test_a_snapshot_that_cannot_be_read_stops_everything(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.network / "one.example.org.yaml").write_text("version: 2\nentries: nonsense\n")
    assert hermit("store", "gc") == 4
    assert "one.example.org.yaml" in capsys.readouterr().err
    assert project.body_file(FORGOTTEN).exists()


def test_a_project_in_a_subfolder_names_its_bodies(project: RecordedProject) -> None:
    pool = find_place().pool
    inner = project.root / "inner"
    inner.mkdir()
    (project.root / ".hermit").rename(inner / ".hermit")
    os.chdir(inner)
    assert find_place().project.root == inner
    assert hermit("store", "gc", "--forget", pool) == 0
    assert project.body_file(NAMED).exists()
    assert not project.body_file(FORGOTTEN).exists()


@pytest.mark.parametrize("where", ["nowhere", "plain"])
def test_what_is_no_repository_is_told(
    project: RecordedProject, where: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    assert hermit("store", "gc", "--repo", tmp_path / where) == 2
    assert str(tmp_path / where) in capsys.readouterr().err
    assert project.body_file(FORGOTTEN).exists()

"""A comparison takes folders and whatever git calls a revision."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli.project import find_project
from hermit_cli.revision import read_revision, read_side
from hermit_proxy.errors import InputError, UsageError
from tests.support.gitserver import git
from tests.support.recorded import RecordedProject, entry

FIRST, SECOND = entry("/first"), entry("/second")


@pytest.fixture
def project(tmp_path: Path) -> RecordedProject:
    """Make a project with a commit for each of two snapshots, and a third in the work tree."""
    project = RecordedProject(tmp_path / "p")
    project.record(FIRST)
    project.commit("first")
    git("tag", "-a", "v1", "-m", "v1", cwd=project.root)
    project.record(SECOND)
    project.commit("second")
    project.record(FIRST, SECOND)
    return project


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ("HEAD", {SECOND}),
        ("HEAD~1", {FIRST}),
        ("v1", {FIRST}),
        ("main", {SECOND}),
        ("HEAD~2", set()),
        (".", {FIRST, SECOND}),
        (".hermit", {FIRST, SECOND}),
        (".hermit/network", {FIRST, SECOND}),
    ],
)
def test_a_side_is_a_folder_or_a_revision(project: RecordedProject, side: str, expected: set[object]) -> None:
    assert set(read_side(side, find_project(project.root))) == expected


@pytest.mark.parametrize("side", ["nowhere", "--output=x", "HEAD:.hermit/rules.yaml", ""])
def test_what_is_neither_is_told(project: RecordedProject, side: str) -> None:
    with pytest.raises(UsageError, match="neither a folder nor a revision"):
        read_side(side, find_project(project.root))


def test_a_project_in_a_subfolder_of_the_repository_is_read_there(project: RecordedProject) -> None:
    inner = project.root / "inner"
    (inner / ".hermit").mkdir(parents=True)
    project.network.rename(inner / ".hermit/network")
    project.commit("moved")
    assert set(read_revision("HEAD", find_project(inner))) == {FIRST, SECOND}
    assert set(read_revision("HEAD", find_project(project.root))) == set()


def test_a_link_in_a_commit_is_no_snapshot(project: RecordedProject) -> None:
    (project.network / "two.example.org.yaml").symlink_to("one.example.org.yaml")
    project.commit("link")
    with pytest.raises(InputError, match=r"HEAD:\.hermit/network/two\.example\.org\.yaml: expected a regular file"):
        read_revision("HEAD", find_project(project.root))


def test_a_mistake_in_a_commit_is_told_with_revision_file_and_line(project: RecordedProject) -> None:
    (project.network / "one.example.org.yaml").write_text("version: 2\nentrees: []\n")
    project.commit("mistake")
    with pytest.raises(InputError, match=r"HEAD:\.hermit/network/one\.example\.org\.yaml:2: "):
        read_revision("HEAD", find_project(project.root))


def test_settings_of_a_repository_run_no_program(project: RecordedProject, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git("config", "core.fsmonitor", hook, cwd=project.root)
    git("status", cwd=project.root)
    assert (tmp_path / "ran").exists()  # the control: git alone does run it
    (tmp_path / "ran").unlink()
    read_revision("HEAD", find_project(project.root))
    assert not (tmp_path / "ran").exists()


def test_before_the_first_commit_that_is_the_reason(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    with pytest.raises(UsageError, match="has no commit yet, so there is no 'HEAD'"):
        read_side("HEAD", find_project(tmp_path))


def test_outside_of_a_repository_git_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'HEAD' is no folder, and git rev-parse in .*: not a git repository"):
        read_side("HEAD", find_project(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")
def test_a_repository_that_git_refuses_is_told_in_its_words(
    project: RecordedProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # a developer may trust every folder
    for path in (project.root, project.root / ".git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(UsageError, match="detected dubious ownership") as caught:
        read_side("HEAD", find_project(project.root))
    assert (caught.value.hint or "").startswith("git config --global --add safe.directory")

"""Finds projects in real folders and names pools of real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hermit_cli.project import Project, find_project, has_snapshot
from hermit_proxy.errors import UsageError


def test_the_folder_with_hermit_files_wins_over_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "part" / ".hermit").mkdir(parents=True)
    (tmp_path / "part" / "deep").mkdir()
    project = find_project(tmp_path / "part" / "deep")
    assert project.root == tmp_path / "part"
    assert project.rules == tmp_path / "part/.hermit/rules.yaml"
    assert project.network == tmp_path / "part/.hermit/network"


def test_else_the_top_of_the_repository_and_else_where_one_stands(tmp_path: Path) -> None:
    (tmp_path / "repo" / "deep").mkdir(parents=True)
    assert find_project(tmp_path / "repo" / "deep").root == tmp_path / "repo" / "deep"
    (tmp_path / "repo" / ".git").touch()  # a work tree of its own
    assert find_project(tmp_path / "repo" / "deep").root == tmp_path / "repo"


def test_nothing_above_the_repository_or_the_home_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".hermit").mkdir()
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "deep").mkdir()
    assert find_project(tmp_path / "repo" / "deep").root == tmp_path / "repo"
    (tmp_path / "home" / "deep").mkdir(parents=True)
    assert find_project(tmp_path / "home" / "deep").root == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_project(tmp_path / "home" / "deep").root == tmp_path / "home" / "deep"
    (tmp_path / "home" / ".hermit").mkdir()
    assert find_project(tmp_path / "home" / "deep").root == tmp_path / "home"


def test_a_folder_that_anybody_may_write_to_rules_nothing_below_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / ".hermit").mkdir(parents=True)
    (shared / "mine").mkdir()
    assert find_project(shared / "mine").root == shared
    shared.chmod(0o1777)
    assert find_project(shared / "mine").root == shared / "mine"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
STRANGER, OTHER = 65534, 65533


def given(path: Path, owner: int) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, owner, owner)
    return path


@needs_root
def test_a_strangers_folder_is_refused_by_name_and_owner(tmp_path: Path) -> None:
    given(tmp_path / ".hermit", STRANGER)
    with pytest.raises(UsageError, match=rf"{tmp_path}/\.hermit belongs to (nobody|user {STRANGER})"):
        find_project(tmp_path)


@needs_root
def test_a_strangers_repository_around_a_folder_of_ones_own_is_none(tmp_path: Path) -> None:
    given(tmp_path / ".git", STRANGER)
    given(tmp_path / ".hermit", STRANGER)
    tmp_path.chmod(0o1777)
    (tmp_path / "mine").mkdir()
    assert find_project(tmp_path / "mine").root == tmp_path / "mine"


@needs_root
def test_root_may_work_in_a_users_checkout_with_that_users_rules(tmp_path: Path) -> None:
    repo = given(tmp_path / "repo", STRANGER)
    given(repo / ".git", STRANGER)
    given(repo / ".hermit", STRANGER)
    (repo / "deep").mkdir()
    assert find_project(repo / "deep").root == repo
    given(repo / ".hermit", OTHER)
    with pytest.raises(UsageError, match="belongs to"):
        find_project(repo / "deep")


@needs_root
def test_a_link_does_not_lend_its_owner(tmp_path: Path) -> None:
    given(tmp_path / "theirs", STRANGER)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / ".hermit").symlink_to(tmp_path / "theirs")
    with pytest.raises(UsageError, match="belongs to"):
        find_project(tmp_path / "p")


def test_an_empty_folder_is_no_snapshot(tmp_path: Path) -> None:
    assert not has_snapshot(tmp_path / "network")
    (tmp_path / "network").mkdir()
    assert not has_snapshot(tmp_path / "network")
    (tmp_path / "network" / "example.org.yaml").touch()
    assert has_snapshot(tmp_path / "network")


def test_a_snapshot_of_nothing_is_its_time_alone(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert not project.is_recorded
    project.network.mkdir(parents=True)
    assert not project.is_recorded
    (project.network / "example.org.yaml").touch()
    assert project.is_recorded
    (project.network / "example.org.yaml").unlink()
    (project.hermit_dir / "recorded").symlink_to("nowhere")  # told where it is read
    assert project.is_recorded


def test_the_origin_is_read_from_the_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    command = ["git", "-C", str(tmp_path), "remote", "add", "origin", "https://example.org/a/b.git"]
    subprocess.run(command, check=True)
    assert find_project(tmp_path).pool() == "example.org/a/b"

"""Finds projects in real folders and names pools of real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hermit_cli.project import find_project, has_snapshot, pool_name


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


def test_an_empty_folder_is_no_snapshot(tmp_path: Path) -> None:
    assert not has_snapshot(tmp_path / "network")
    (tmp_path / "network").mkdir()
    assert not has_snapshot(tmp_path / "network")
    (tmp_path / "network" / "example.org.yaml").touch()
    assert has_snapshot(tmp_path / "network")


@pytest.mark.parametrize(
    ("origin", "pool"),
    [
        ("https://git.example.org/group/project.git", "git.example.org/group/project"),
        ("https://user:s3cret@git.example.org/group/project", "git.example.org/group/project"),
        ("git@git.example.org:group/project.git", "git.example.org/group/project"),
        ("ssh://git@git.example.org:2222/group/project.git/", "git.example.org/group/project"),
        ("https://git.example.org/a b/ü", "git.example.org/a-b/-"),
    ],
)
def test_all_clones_of_a_repository_share_a_pool(origin: str, pool: str, tmp_path: Path) -> None:
    assert pool_name(origin, tmp_path) == pool


@pytest.mark.parametrize("origin", ["", "../other", "/srv/git/x/../y", "https://example.org/" + "x" * 200])
def test_without_a_good_origin_the_place_names_the_pool(origin: str, tmp_path: Path) -> None:
    name = pool_name(origin, tmp_path)
    assert name.startswith("local/")
    assert name == pool_name(origin, tmp_path)
    assert name != pool_name(origin, tmp_path / "other")


def test_the_origin_is_read_from_the_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    command = ["git", "-C", str(tmp_path), "remote", "add", "origin", "https://example.org/a/b.git"]
    subprocess.run(command, check=True)
    assert find_project(tmp_path).pool() == "example.org/a/b"

"""Asks for origins, and passes on why git reads nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli import git
from hermit_proxy.git import GitError
from tests.support import repository


def test_the_origin_is_the_repositorys_own_and_nothing_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    assert git.origin(folder) == ""
    repository.git(folder, "init", "-q")
    assert git.origin(folder) == ""
    repository.git(folder, "remote", "add", "origin", "https://git.example.org/a/b")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git.origin(folder) == "https://git.example.org/a/b"
    monkeypatch.setenv("PATH", "/nowhere")
    assert git.origin(folder) == ""


def test_a_repository_that_git_refuses_is_told_with_gits_own_advice() -> None:
    said = GitError("fatal: dubious ownership\nTo add an exception, call:\n\n\tgit config --global --add x y")
    told = git.refused(said, "first: ")
    assert (str(told), told.hint) == ("first: fatal: dubious ownership", "git config --global --add x y")
    assert git.refused(GitError("no repository"), otherwise="look elsewhere").hint == "look elsewhere"

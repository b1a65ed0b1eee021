"""Asks git about repositories, as far as test_source.py and test_gitfolder.py do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli.build.git import Repository, Tracked
from hermit_proxy.errors import HermitError
from tests.support.repository import git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    git(tmp_path, "init", "-q")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a").write_text("a\n")
    git(tmp_path, "add", "-A")
    found = Repository.around(tmp_path / "sub")
    assert found is not None
    return found


def test_a_folder_finds_the_work_tree_around_it(repository: Repository, tmp_path: Path) -> None:
    assert repository.top == tmp_path


def test_where_there_is_no_repository_git_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Repository.around(tmp_path) is None


def test_without_git_a_repository_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HermitError, match="git is not installed"):
        Repository.around(tmp_path)


def test_variables_of_gits_lead_nowhere_else(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    oid = "78981922613b2afb6025042ff6bd878ac1994e85"
    assert list(repository.index()) == [Tracked(0o100644, oid, 0, "sub/a")]
    assert os.fsdecode(repository.ask("rev-parse", "--show-toplevel")).strip() == str(tmp_path)


def test_what_git_says_is_in_the_error_and_nothing_where_a_line_will_do(repository: Repository) -> None:
    with pytest.raises(HermitError, match="git rev-parse in"):
        repository.ask("rev-parse", "--verify", "HEAD")
    assert repository.line("rev-parse", "--verify", "HEAD") == ""

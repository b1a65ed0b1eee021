"""Brings commits of real repositories: of a branch, of a tag, of none, and with settings that would change them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_proxy.git import GitError
from hermit_workers.source.checkout import thd_check_out
from hermit_workers.source.worktree import find_source
from tests.support.repository import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "file").write_text("one\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1")
    (folder / "file").write_text("two\n")
    git(folder, "commit", "-q", "-a", "-m", "two")
    return folder


def test_a_commit_of_a_branch_is_as_a_clone_has_it(repository: Path, tmp_path: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD~")
    out = tmp_path / "out/name"
    assert thd_check_out(str(repository), commit, "main", out) == commit
    assert (out / "file").read_text() == "one\n"
    assert git(out, "status", "--porcelain") == ""
    assert git(out, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(out, "tag") == "v1"
    source = find_source(out)
    assert source.head is not None
    assert (source.head.commit, source.head.branch, source.changes) == (commit, "main", 0)


@pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/pull/7/head", "refs/merge-requests/7/head"])
def test_a_ref_of_another_kind_is_on_no_branch(repository: Path, tmp_path: Path, ref: str) -> None:
    commit = git(repository, "rev-parse", "v1")
    git(repository, "update-ref", ref, commit)
    out = tmp_path / "out"
    assert thd_check_out(str(repository), commit, ref, out) == commit
    assert git(out, "rev-parse", "HEAD") == commit
    assert git(out, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert git(out, "for-each-ref", "--format=%(refname)") == "refs/tags/v1"


def test_without_a_commit_it_is_the_branchs_last_and_without_a_branch_the_heads(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "branch", "other", "v1")
    assert thd_check_out(str(repository), "", "other", tmp_path / "a") == git(repository, "rev-parse", "v1")
    head = git(repository, "rev-parse", "HEAD")
    assert thd_check_out(str(repository), "", "", tmp_path / "b") == head
    source = find_source(tmp_path / "b")
    assert source.head is not None
    assert source.head.branch == ""


def test_a_filter_of_whoever_runs_the_master_changes_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".gitattributes").write_text("file filter=loud\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "filtered")
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[filter "loud"]\n\tsmudge = touch {tmp_path}/ran; cat\n\trequired = true\n')
    # The variables of git's own do not reach it, the user's home does.
    monkeypatch.setenv("HOME", str(tmp_path))
    settings.rename(tmp_path / ".gitconfig")
    thd_check_out(str(repository), "", "main", tmp_path / "out")
    assert (tmp_path / "out/file").read_text() == "two\n"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("address", "commit", "code"),
    [
        ("", "", ExitCode.USAGE),
        ("--upload-pack=touch x", "", ExitCode.USAGE),
        ("ext::sh -c touch% x", "", ExitCode.MACHINE),
        ("/nowhere", "", ExitCode.MACHINE),
        (None, "HEAD", ExitCode.USAGE),
        (None, "--all", ExitCode.USAGE),
        (None, "0" * 40, ExitCode.MACHINE),
    ],
)
def test_what_is_no_commit_of_a_repository_is_refused(
    address: str | None, commit: str, code: ExitCode, repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(HermitError) as raised:
        thd_check_out(str(repository) if address is None else address, commit, "main", tmp_path / "out")
    assert raised.value.exit_code is code
    assert not os.path.exists("x")


@pytest.mark.parametrize("branch", ["-f", "main:refs/heads/x", "../x", "a b", "refs/*"])
def test_what_is_no_name_of_a_branch_never_comes_to_git_fetch(branch: str, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no name of a branch"):
        thd_check_out(str(repository), "", branch, tmp_path / "out")


def test_a_commit_of_another_branch_is_none_of_this_one(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-q", "-b", "other")
    git(repository, "commit", "-q", "--allow-empty", "-m", "other")
    commit = git(repository, "rev-parse", "HEAD")
    with pytest.raises(GitError, match="in the branch main"):
        thd_check_out(str(repository), commit, "main", tmp_path / "out")

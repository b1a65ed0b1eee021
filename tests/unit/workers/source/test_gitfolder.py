"""Makes the `.git` of builds and reads them with git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_workers.source.gitfolder import Head, clean_url, index_file, read_head, write_git_folder
from hermit_workers.source.repository import Repository, Tracked
from hermit_workers.source.worktree import find_source
from tests.support.repository import git


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "hello"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for number in range(3):
        (folder / "a.txt").write_text(f"{number}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"number {number}")
    return folder


def made(folder: Path, tmp_path: Path) -> Path:
    """Make the `.git` of a project beside its files, and give the folder that has both."""
    there = tmp_path / "there"
    source = find_source(folder)
    assert source.repository is not None
    assert source.head is not None
    write_git_folder(there / ".git", source.repository, source.head, source.index, {})
    git(there, "reset", "-q", "--hard")
    return there


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b.git"),
        ("https://user:secret@example.org/a.git", "https://example.org/a.git"),
        ("https://ghp_token@example.org:8443/a.git", "https://example.org:8443/a.git"),
        ("https://example.org/a.git?private_token=x#y", "https://example.org/a.git"),
        ("ssh://git:secret@example.org:22/a.git", "ssh://git@example.org:22/a.git"),
        ("git@example.org:a/b.git", "git@example.org:a/b.git"),
        ("example.org:a/b.git", "example.org:a/b.git"),
        ("git://example.org/a.git", "git://example.org/a.git"),
        ("https://user:p@ss@example.org/a.git", "https://example.org/a.git"),
        ("helper::https://user:secret@example.org/a.git", ""),
        ("/home/somebody/a.git", ""),
        ("../a.git", ""),
        ("file:///home/somebody/a.git", ""),
        ("ext::sh -c 'touch x'", ""),
        ("https://example.org/a\n[core]\n", ""),
        ("https://[::1", ""),
        ("", ""),
    ],
)
def test_an_origin_has_no_secret_and_is_no_path_of_this_machine(url: str, clean: str) -> None:
    assert clean_url(url) == clean


def test_history_and_tags_are_there_and_nothing_else(project: Path, tmp_path: Path) -> None:
    git(project, "tag", "-a", "-m", "one", "v1", "HEAD~1")
    git(project, "tag", "light")
    git(project, "remote", "add", "origin", "https://me:secret@example.org/hello.git")
    git(project, "config", "user.password", "secret")
    git(project, "checkout", "-q", "-b", "other")
    git(project, "commit", "-q", "--allow-empty", "-m", "secret of another branch")
    git(project, "tag", "secret-tag")
    secret = git(project, "rev-parse", "HEAD")
    git(project, "checkout", "-q", "main")
    (project / "a.txt").write_text("stashed")
    git(project, "stash", "-q")
    hook = project / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\n")
    there = made(project, tmp_path)
    assert git(there, "log", "--format=%s", "main").split("\n") == ["number 2", "number 1", "number 0"]
    assert git(there, "tag").split("\n") == ["light", "v1"]
    assert git(there, "describe", "--long") == f"v1-1-g{git(project, 'rev-parse', '--short', 'HEAD')}"
    assert git(there, "rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert git(there, "config", "remote.origin.url") == "https://example.org/hello.git"
    assert git(there, "for-each-ref", "--format=%(refname)").split("\n") == [
        "refs/heads/main",
        "refs/tags/light",
        "refs/tags/v1",
    ]
    known = git(there, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    assert secret not in known
    everything = b"".join(path.read_bytes() for path in there.rglob("*") if path.is_file())
    assert b"secret" not in everything
    assert not (there / ".git/hooks").exists()
    assert git(there, "fsck", "--full") == ""


def test_objects_are_copies(project: Path, tmp_path: Path) -> None:
    git(project, "repack", "-q", "-a", "-d")
    there = made(project, tmp_path)
    assert {path.stat().st_nlink for path in (there / ".git/objects").rglob("*") if path.is_file()} == {1}
    assert not (there / ".git/objects/info/alternates").exists()


@pytest.mark.parametrize("branch", ["feature/x", 'quote"d', "gr\u00fcn", "-dash"])
def test_the_branch_is_named(project: Path, tmp_path: Path, branch: str) -> None:
    git(project, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    git(project, "update-ref", f"refs/heads/{branch}", git(project, "rev-parse", "main"))
    git(project, "remote", "add", "origin", "https://example.org/hello.git")
    there = made(project, tmp_path)
    assert git(there, "symbolic-ref", "--short", "HEAD") == branch
    assert git(there, "config", f"branch.{branch}.remote") == "origin"


def test_a_detached_head_stays_one(project: Path, tmp_path: Path) -> None:
    git(project, "checkout", "-q", "--detach", "HEAD~1")
    there = made(project, tmp_path)
    assert git(there, "rev-parse", "HEAD") == git(project, "rev-parse", "HEAD")
    assert git(there, "for-each-ref") == ""


def test_a_shallow_clone_is_one_in_the_build(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{project}", str(clone))
    there = made(clone, tmp_path)
    assert git(there, "log", "--format=%s") == "number 2"
    assert git(there, "fsck", "--full") == ""


def test_a_work_tree_beside_its_repository_is_one(project: Path, tmp_path: Path) -> None:
    git(project, "worktree", "add", "-q", "-b", "beside", str(tmp_path / "beside"))
    there = made(tmp_path / "beside", tmp_path)
    assert git(there, "rev-parse", "--abbrev-ref", "HEAD") == "beside"
    assert (there / "a.txt").read_text() == "2\n"


def test_staged_contents_are_there(project: Path, tmp_path: Path) -> None:
    (project / "staged").write_text("staged\n")
    git(project, "add", "staged")
    there = tmp_path / "there"
    source = find_source(project)
    assert source.repository is not None
    assert source.head is not None
    write_git_folder(there / ".git", source.repository, source.head, source.index, {})
    assert git(there, "show", ":staged") == "staged"


def test_repositories_with_long_digests_work_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "hello"
    git(tmp_path, "init", "-q", "--object-format=sha256", str(folder))
    (folder / "a").write_text("a\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    there = made(folder, tmp_path)
    assert len(git(there, "rev-parse", "HEAD")) == 64
    assert git(there, "status", "--porcelain") == ""


@pytest.mark.parametrize("length", range(1, 20))
def test_names_of_every_length_are_padded_as_git_reads_them(tmp_path: Path, length: int) -> None:
    git(tmp_path, "init", "-q")
    oid = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    names = sorted({"x" * length, "y" * 5000, "z"})
    entries = [Tracked(0o100644, oid, 0, name, absent=name == "z") for name in names]
    (tmp_path / ".git/index").write_bytes(index_file(entries, {"z": 7}, 1_600_000_000))
    listed = git(tmp_path, "ls-files", "-t", "--stage").split("\n")
    tags = {name: "S" if name == "z" else "H" for name in names}
    assert listed == [f"{tags[name]} 100644 {oid} 0\t{name}" for name in names]


def test_a_repository_of_somebody_else_is_told_as_git_tells_it(project: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    for path in [project, *project.rglob("*")]:
        os.chown(path, 12345, 12345)
    with pytest.raises(Exception, match="dubious ownership") as raised:
        Repository.around(project)
    assert "safe.directory" in str(getattr(raised.value, "hint", ""))


def test_the_head_is_read(project: Path) -> None:
    repository = Repository.around(project)
    assert repository is not None
    head = read_head(repository)
    assert head == Head(git(project, "rev-parse", "HEAD"), "main", int(git(project, "log", "-1", "--format=%ct")), "")


def test_a_branch_is_known_by_its_own_name_where_a_tag_has_the_same(project: Path, tmp_path: Path) -> None:
    git(project, "tag", "main")
    there = made(project, tmp_path)
    assert (there / ".git/HEAD").read_text() == "ref: refs/heads/main\n"


def test_a_source_without_branch_has_none(project: Path) -> None:
    commit = git(project, "rev-parse", "HEAD")
    git(project, "checkout", "-q", "--detach")
    repository = Repository.around(project)
    assert repository is not None
    head = read_head(repository)
    assert head is not None
    assert (head.commit, head.branch) == (commit, "")


def test_settings_that_have_signatures_shown_run_nothing(project: Path, tmp_path: Path) -> None:
    """A signed commit, and a program of the repository's own to look at signatures."""
    program = tmp_path / "gpg"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    lines = git(project, "cat-file", "commit", "HEAD").split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("committer ")) + 1
    signature = ["gpgsig -----BEGIN PGP SIGNATURE-----", " ", " abc", " -----END PGP SIGNATURE-----"]
    (tmp_path / "commit").write_text("\n".join([*lines[:at], *signature, *lines[at:]]) + "\n")
    git(project, "reset", "-q", git(project, "hash-object", "-t", "commit", "-w", str(tmp_path / "commit")))
    git(project, "config", "log.showSignature", "true")
    git(project, "config", "gpg.program", str(program))
    source = find_source(project)
    assert source.head is not None
    assert source.head.epoch == int(git(project, "rev-list", "--max-count=1", "--timestamp", "HEAD").split()[0])
    assert not (tmp_path / "ran").exists()

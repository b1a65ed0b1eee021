"""Looks at projects as people have them on their machines: half committed, with submodules, links and oddities."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from hermit_proxy.errors import UsageError
from hermit_workers.source.worktree import NO_COMMIT_EPOCH, Source, find_source

COMMITTED = "2020-02-02T02:02:02Z"
EPOCH = 1580608922


def git(folder: Path, *arguments: str) -> str:
    dates = {"GIT_AUTHOR_DATE": COMMITTED, "GIT_COMMITTER_DATE": COMMITTED}
    command = ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, env={**os.environ, **dates}, capture_output=True, text=True, check=True).stdout


def repository(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first", "--allow-empty")
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def look(folder: Path) -> Source:
    return find_source(folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return repository(tmp_path / "hello", {"a.txt": "a\n", "src/b.txt": "b\n", ".gitignore": "*.o\n"})


def test_a_clean_clone_goes_in_as_it_was_committed(project: Path) -> None:
    source = look(project)
    assert source.paths == (".gitignore", "a.txt", "src/b.txt")
    assert source.head is not None
    assert (source.head.commit, source.head.branch) == (git(project, "rev-parse", "HEAD").strip(), "main")
    assert (source.epoch, source.changes, source.changed, source.notes) == (EPOCH, 0, frozenset(), ())


def test_what_is_not_committed_is_built_and_what_git_ignores_is_not(project: Path) -> None:
    write(project, {"a.txt": "changed\n", "new.txt": "new\n", "staged.txt": "staged\n", "b.o": "object\n"})
    git(project, "add", "staged.txt")
    (project / "src/b.txt").unlink()
    source = look(project)
    assert {"a.txt", "new.txt", "staged.txt"} < set(source.paths)
    assert "b.o" not in source.paths
    assert source.changes == 4
    assert source.changed == {"a.txt", "src/b.txt"}


def test_a_file_that_was_only_touched_is_no_change(project: Path) -> None:
    os.utime(project / "a.txt", (1, 1))
    assert look(project).changes == 0


def test_what_hermit_writes_of_a_build_is_no_part_of_it(project: Path) -> None:
    write(project, {".hermit/build.yaml": "", ".hermit/network/old.yaml": "", ".hermit/image.lock": ""})
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "recorded")
    write(project, {".hermit/network/old.yaml": "changed", ".hermit/network/new.yaml": "", ".hermit/recorded": ""})
    write(project, {".hermit/out/artifact": "", ".hermit/networks": "a name that is like one"})
    write(project, {".hermit/.out.5f.new~/artifact": "of a build that was killed, or runs", ".hermit/.recorded~": ""})
    source = look(project)
    assert [path for path in source.paths if path.startswith(".hermit")] == [".hermit/build.yaml", ".hermit/networks"]
    assert source.changes == 1
    # For git in the build they are left out on purpose, as in a sparse checkout, not deleted.
    assert {entry.path for entry in source.index if entry.absent} == {".hermit/image.lock", ".hermit/network/old.yaml"}


def test_a_part_of_a_larger_repository_goes_in_with_the_whole(project: Path) -> None:
    write(project, {"part/.hermit/build.yaml": "", "part/.hermit/network/x.yaml": ""})
    source = look(project / "part")
    assert (source.top, source.below) == (project, Path("part"))
    assert {"a.txt", "part/.hermit/build.yaml"} < set(source.paths)
    assert "part/.hermit/network/x.yaml" not in source.paths


@pytest.mark.parametrize(
    "name", ["with space", "new\nline", "-rf", "quote\"'", "\u00e9\u6f22", "tab\t", "back\\slash", "\udcff\udcfe"]
)
def test_hostile_names_are_names(project: Path, name: str) -> None:
    (project / name).write_text("x\n")
    assert name in look(project).paths
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "names")
    assert name in look(project).paths
    assert look(project).changes == 0


def test_nothing_of_the_repository_is_run(project: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    trap.chmod(0o755)
    for name in ("core.fsmonitor", "filter.x.clean", "filter.x.process", "filter.a.b=c.clean", "diff.external"):
        git(project, "config", name, str(trap))
    git(project, "config", "core.hooksPath", str(tmp_path))
    write(project, {".gitattributes": "* filter=x\n", "a.txt": "changed\n"})
    assert "a.txt" in look(project).changed
    assert not proof.exists()
    # The trap is one: without the care that is taken, git runs it.
    subprocess.run(["git", "-C", str(project), "status"], capture_output=True, check=False)
    assert proof.exists()


def test_a_submodule_is_left_to_the_build_as_in_a_clone(project: Path, tmp_path: Path) -> None:
    repository(tmp_path / "library", {"lib.c": "int x;\n"})
    git(project, "submodule", "add", "-q", str(tmp_path / "library"), "lib")
    git(project, "commit", "-q", "-m", "with a submodule")
    source = look(project)
    assert "lib" in source.paths
    assert "lib/lib.c" not in source.paths
    assert (source.changes, source.notes) == (0, ())
    write(project / "lib", {"lib.c": "changed\n"})
    assert look(project).notes == ("submodule lib: has uncommitted changes, which are not built",)
    git(project / "lib", "commit", "-q", "-a", "-m", "more")
    (note,) = look(project).notes
    assert "is checked out, the build gets" in note


def test_a_repository_within_that_is_no_submodule_is_left_out_and_told(project: Path) -> None:
    repository(project / "other", {"x": ""})
    source = look(project)
    assert not [path for path in source.paths if path.startswith("other")]
    assert source.notes == ("other/ is a repository of its own and no submodule: left out",)


def test_pointers_of_lfs_are_told(project: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    write(project, {".gitattributes": "*.bin filter=lfs\n", "a.bin": pointer, "b.bin": pointer, "c.bin": "content"})
    git(project, "-c", "filter.lfs.clean=cat", "add", "-A")
    git(project, "commit", "-q", "-m", "large")
    assert look(project).notes == ("a.bin and 1 more: a pointer of git LFS, not the content (git lfs pull)",)


def test_a_repository_without_a_commit_has_files_and_no_head(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, {"a": "", "b.o": "", ".gitignore": "*.o\n"})
    source = look(tmp_path)
    assert source.paths == (".gitignore", "a")
    assert (source.head, source.epoch) == (None, NO_COMMIT_EPOCH)


def test_a_detached_head_is_on_no_branch(project: Path) -> None:
    git(project, "checkout", "-q", "--detach")
    head = look(project).head
    assert head is not None
    assert head.branch == ""


def test_a_folder_that_is_not_in_git_goes_in_whole(tmp_path: Path) -> None:
    write(
        tmp_path, {"b": "", "a/c": "", ".hermit/build.yaml": "", ".hermit/network/x.yaml": "", ".hermit/recorded": ""}
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    source = look(tmp_path)
    assert source.paths == (".hermit/build.yaml", "a/c", "b", "empty", "link")
    assert (source.repository, source.head, source.epoch) == (None, None, NO_COMMIT_EPOCH)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / "odd")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "odd"))
    with pytest.raises(UsageError, match=rf"odd is a {kind}"):
        look(tmp_path)


def test_a_home_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="is no project"):
        look(tmp_path)

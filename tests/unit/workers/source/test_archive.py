"""Packs sources and unpacks them with tar, as a cell does, to see what a build would see."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import HermitError
from hermit_workers.source.archive import write_archive
from hermit_workers.source.worktree import NO_COMMIT_EPOCH, Source, find_source
from tests.support.repository import git

PLACE = PurePosixPath("/build/hello")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "hello"
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.txt").write_text("a\n")
    (folder / "src/run.sh").write_text("#!/bin/sh\n")
    (folder / "src/run.sh").chmod(0o775)
    (folder / "src/link").symlink_to("../a.txt")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def packed(source: Source, scratch: Path) -> tuple[bytes, str]:
    stream = io.BytesIO()
    digest = write_archive(stream, source, PLACE, scratch)
    return stream.getvalue(), digest


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def unpacked(folder: Path, scratch: Path) -> Path:
    data, _ = packed(find_source(folder), scratch / "git")
    target = scratch / "unpacked"
    target.mkdir()
    subprocess.run(
        ["tar", "-x", "--no-same-owner", "--warning=no-timestamp", "-C", str(target)], input=data, check=True
    )
    return target / "build/hello"


def test_owner_modes_and_times_depend_on_the_commit_alone(project: Path, tmp_path: Path) -> None:
    source = find_source(project)
    found = members(packed(source, tmp_path / "git")[0])
    assert {(member.uid, member.gid) for member in found.values()} == {(1000, 1000)}
    times = {name: int(member.mtime) for name, member in found.items()}
    assert {time for name, time in times.items() if name != "build/hello/.git/index"} == {source.epoch}
    modes = {name: f"{member.mode:o}" for name, member in found.items() if "/.git/" not in name}
    assert modes == {
        "build/hello": "755",
        "build/hello/.git": "755",
        "build/hello/a.txt": "644",
        "build/hello/src": "755",
        "build/hello/src/link": "777",
        "build/hello/src/run.sh": "755",
    }


def test_the_digest_is_that_of_the_files_and_nothing_else(project: Path, tmp_path: Path) -> None:
    _, digest = packed(find_source(project), tmp_path / "one")
    os.utime(project / "a.txt", (1, 1))
    git(project, "repack", "-q", "-a", "-d")
    assert packed(find_source(project), tmp_path / "two")[1] == digest
    (project / "a.txt").write_text("b\n")
    changed = packed(find_source(project), tmp_path / "three")[1]
    (project / "a.txt").chmod(0o755)
    assert len({digest, changed, packed(find_source(project), tmp_path / "four")[1]}) == 3


def test_git_in_the_build_sees_a_clean_checkout_without_reading_a_file(project: Path, tmp_path: Path) -> None:
    git(project, "tag", "v1")
    there = unpacked(project, tmp_path)
    # Plumbing refreshes nothing: as the index came, size and time of every file say that it is unchanged.
    assert git(there, "diff-index", "HEAD") == ""
    assert git(there, "status", "--porcelain") == ""
    assert git(there, "describe", "--tags", "--dirty") == "v1"
    assert git(there, "fsck", "--full") == ""


def test_git_in_the_build_sees_what_is_not_committed(project: Path, tmp_path: Path) -> None:
    git(project, "tag", "v1")
    (project / "a.txt").write_text("b\n")  # the same size
    (project / "new").write_text("")
    there = unpacked(project, tmp_path)
    assert git(there, "status", "--porcelain").split("\n") == ["M a.txt", "?? new"]
    assert git(there, "describe", "--tags", "--dirty") == "v1-dirty"


def test_a_tracked_folder_that_is_a_link_now_brings_in_nothing_from_outside(project: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "run.sh").write_text("what nobody is to see")
    (project / "src/run.sh").unlink()
    (project / "src/link").unlink()
    (project / "src").rmdir()
    (project / "src").symlink_to(secrets)
    data, _ = packed(find_source(project), tmp_path / "git")
    assert b"nobody is to see" not in data
    assert members(data)["build/hello/src"].issym()


def test_a_file_that_has_gone_meanwhile_is_left_out(project: Path, tmp_path: Path) -> None:
    source = find_source(project)
    (project / "a.txt").unlink()
    assert "build/hello/a.txt" not in members(packed(source, tmp_path / "git")[0])


def test_a_file_that_cannot_be_read_is_named(project: Path, tmp_path: Path) -> None:
    source = find_source(project)
    (project / "a.txt").unlink()
    os.mkfifo(project / "a.txt")
    with pytest.raises(HermitError, match=r"a\.txt is a pipe"):
        packed(source, tmp_path / "git")


def test_names_that_are_no_utf8_and_very_long_ones_arrive(tmp_path: Path) -> None:
    folder = tmp_path / "hello"
    names = ["\udcff\udcfe", "line\nbreak", "d/" * 60 + "x" * 200]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name.encode("utf-8", "surrogateescape").hex())
    there = unpacked(folder, tmp_path)
    assert [(there / name).read_text() for name in names] == [os.fsencode(name).hex() for name in names]
    assert {int(path.lstat().st_mtime) for path in there.rglob("*")} == {NO_COMMIT_EPOCH}


def test_a_large_file_is_streamed_whole(tmp_path: Path) -> None:
    folder = tmp_path / "hello"
    folder.mkdir()
    content = os.urandom(1 << 20) * 9
    (folder / "large").write_bytes(content)
    assert (unpacked(folder, tmp_path) / "large").read_bytes() == content


def test_an_empty_project_is_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "hello"
    folder.mkdir()
    assert list(members(packed(find_source(folder), tmp_path / "git")[0])) == ["build/hello"]

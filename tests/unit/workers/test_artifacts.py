"""Keeps artifacts in stores and folders, among them folders that are somebody's."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import HermitError, UsageError
from hermit_proxy.store.files import FileStore
from hermit_workers import artifacts
from hermit_workers.artifacts import Artifact, check_folder, keep
from hermit_workers.cell import Taken
from hermit_workers.sandbox.artifacts.taking import ArtifactError

EPOCH = 1_600_000_000


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def taken(folder: Path, files: dict[str, bytes], *, programs: tuple[str, ...] = ()) -> list[Taken]:
    made = []
    for number, (name, content) in enumerate(files.items()):
        path = folder / f"content-{number}"
        path.write_bytes(content)
        made.append(Taken(PurePosixPath(name), os.open(path, os.O_RDONLY), len(content), name in programs))
    return made


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_artifacts_are_files_and_bodies_of_the_store(tmp_path: Path, store: FileStore) -> None:
    out = tmp_path / "project/.hermit/out"
    found = keep(taken(tmp_path, {"dist/b": b"b", "a": b"a"}, programs=("a",)), store, out, EPOCH)
    assert found == (Artifact("a", 1, digest(b"a"), executable=True), Artifact("dist/b", 1, digest(b"b"), False))
    assert store.read(digest(b"b")) == b"b"
    sums = f"{digest(b'a')}  a\n{digest(b'b')}  dist/b\n"
    files = tree(out)
    assert files.pop(".gitignore").endswith(b"\n*\n")
    assert files == {"a": b"a", "dist/b": b"b", "SHA256SUMS": sums.encode()}
    assert {path.stat().st_mtime for path in [out, *out.rglob("*")]} == {EPOCH}
    modes = {str(path.relative_to(out)): f"{path.stat().st_mode & 0o7777:o}" for path in out.rglob("*")}
    assert modes == {"a": "755", "dist": "755", "dist/b": "644", "SHA256SUMS": "644", ".gitignore": "644"}
    assert list(out.parent.iterdir()) == [out]


def test_modes_do_not_depend_on_the_umask(tmp_path: Path, store: FileStore) -> None:
    before = os.umask(0o077)
    try:
        keep(taken(tmp_path, {"d/a": b"a"}), store, tmp_path / "out", EPOCH)
    finally:
        os.umask(before)
    assert (tmp_path / "out/d").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/d/a").stat().st_mode & 0o777 == 0o644


def test_two_builds_are_never_mixed(tmp_path: Path, store: FileStore) -> None:
    out = tmp_path / "out"
    keep(taken(tmp_path, {"old": b"1", "same": b"1"}), store, out, EPOCH)
    keep(taken(tmp_path, {"same": b"2"}), store, out, EPOCH)
    assert set(tree(out)) == {"same", "SHA256SUMS", ".gitignore"}
    assert (out / "same").read_bytes() == b"2"


@pytest.mark.parametrize("before", [True, False])
def test_where_it_fails_the_folder_is_as_it_was_and_no_descriptor_is_left(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    out = tmp_path / "out"
    if before:
        keep(taken(tmp_path, {"old": b"1"}), store, out, EPOCH)
    files = tree(out) if before else None

    def full(_new: Path, _epoch: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts, "_set_times", full)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HermitError, match="No space left"):
        keep(taken(tmp_path, {"new": b"1"}), store, out, EPOCH)
    assert (tree(out) if out.exists() else None) == files
    assert not list(tmp_path.glob(".out*"))
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("name", ["SHA256SUMS", "SHA256SUMS/mine", ".gitignore/mine"])
def test_a_name_of_hermits_own_beside_them_is_refused(tmp_path: Path, store: FileStore, name: str) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ArtifactError, match=f"cannot be named {name}: "):
        keep(taken(tmp_path, {"a": b"a", name: b"mine"}), store, tmp_path / "out", EPOCH)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_folder_of_somebodys_is_not_emptied(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").write_text("years")
    (tmp_path / "mine/.gitignore").write_text("*\n")
    with pytest.raises(UsageError, match="holds files that no build made"):
        keep(taken(tmp_path, {"a": b"a"}), store, tmp_path / "mine", EPOCH)
    assert (tmp_path / "mine/thesis").read_text() == "years"


def test_new_and_empty_folders_and_those_of_builds_will_do(tmp_path: Path, store: FileStore) -> None:
    check_folder(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty")
    keep(taken(tmp_path, {"a": b"a"}), store, tmp_path / "built", EPOCH)
    check_folder(tmp_path / "built")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is no folder"):
        check_folder(tmp_path / "file")


def test_a_link_to_the_folder_stays_one(tmp_path: Path, store: FileStore) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    keep(taken(tmp_path, {"a": b"a"}), store, tmp_path / "link", EPOCH)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/a").read_bytes() == b"a"


def test_names_that_are_no_utf8_are_kept(tmp_path: Path, store: FileStore) -> None:
    keep(taken(tmp_path, {"\udcff": b"a"}), store, tmp_path / "out", EPOCH)
    assert b"\xff" in (tmp_path / "out/SHA256SUMS").read_bytes()


def test_a_build_that_ends_leaves_another_one_that_is_alive_alone(tmp_path: Path, store: FileStore) -> None:
    out = tmp_path / "out"
    with artifacts._fresh(out) as other:
        (other / "half").write_text("of a build that is alive")
        keep(taken(tmp_path, {"a": b"a"}), store, out, EPOCH)
        assert (other / "half").exists()
    assert set(tree(out)) == {"a", "SHA256SUMS", ".gitignore"}
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_what_a_killed_build_left_beside_the_folder_goes_with_the_next(tmp_path: Path, store: FileStore) -> None:
    out = tmp_path / "out"
    left = tmp_path / ".out.5f3a.new~"
    left.mkdir()
    (left / "half").write_text("")
    kept = tmp_path / ".out2.5f3a.new~"
    kept.mkdir()
    keep(taken(tmp_path, {"a": b"a"}), store, out, EPOCH)
    assert not left.exists()
    assert kept.exists()

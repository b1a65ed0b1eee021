"""The image lock is written whole, read back as it was, and every mistake in it is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_proxy.errors import InputError
from hermit_workers.image.lock import ImageLock, read_lock, write_lock

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
LOCK = ImageLock("debian-12", A, B, "amd64")
TEXT = f"image: debian-12\nrecipe: {A}\ndigest: {B}\narchitecture: amd64\n"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / ".hermit" / "image.lock"
    assert write_lock(path, LOCK)
    assert read_lock(path) == LOCK
    assert path.stat().st_mode & 0o777 == 0o644


def test_writing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "image.lock"
    write_lock(path, LOCK)
    before = path.stat()
    assert not write_lock(path, LOCK)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_lock(path, ImageLock("debian-12", A, A, "amd64"))


def test_a_write_that_fails_leaves_the_old_lock_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.lock"
    write_lock(path, LOCK)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_lock(path, ImageLock("debian-12", A, A, "amd64"))
    assert read_lock(path) == LOCK
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.lock"]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    path = tmp_path / "image.lock"
    path.symlink_to("elsewhere")
    write_lock(path, LOCK)
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert read_lock(path) == LOCK


def test_no_lock_is_none(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "image.lock") is None


BAD = {
    "nothing": ("", 1, "expected an image lock as a mapping"),
    "a key that is missing": (TEXT.replace("architecture: amd64\n", ""), 1, "needs the key `architecture`"),
    "an unknown key": (TEXT + "more: 1\n", 5, "unknown key 'more'"),
    "a key twice": (TEXT + "image: x\n", 5, "a second time"),
    "a short digest": (TEXT.replace(B, B[:-1]), 3, "expected digest as sha256:"),
    "a digest in capitals": (TEXT.replace(B, B.replace("b", "B")), 3, "expected digest as sha256:"),
    "a digest of another kind": (TEXT.replace(B, "md5:1"), 3, "expected digest as sha256:"),
    "a recipe that is no digest": (TEXT.replace(A, "latest"), 2, "expected recipe as sha256:"),
    "an image with a space": (TEXT.replace("debian-12", "'a b'"), 1, "expected image as"),
    "an architecture that is a list": (TEXT.replace("amd64", "[amd64]"), 4, "expected architecture as a text"),
    "an anchor": (TEXT.replace("debian-12", "&x debian-12"), 1, "an anchor"),
    "a conflict of a merge": (f"<<<<<<< ours\n{TEXT}", 2, "not YAML"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, what: str) -> None:
    text, line, expected = BAD[what]
    path = tmp_path / "image.lock"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_lock(path)
    told = [(mistake.line, mistake.message) for mistake in caught.value.mistakes]
    assert any(found == line and expected in message for found, message in told), told
    assert str(path) in str(caught.value)


def test_a_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.lock").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="a link"):
        read_lock(tmp_path / "image.lock")


def test_a_huge_lock_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "image.lock").write_text("#" * 20000)
    with pytest.raises(InputError, match="larger than"):
        read_lock(tmp_path / "image.lock")

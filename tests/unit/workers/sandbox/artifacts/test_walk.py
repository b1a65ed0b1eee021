"""Walks folders that are deep, that change and that hold links."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_workers.sandbox.artifacts.walk import MovedError, Walk


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "top"
    folder.mkdir()
    yield folder
    # pytest's own cleaning goes no deeper than Python's stack.
    subprocess.run(["rm", "-rf", "--", folder], check=True)


def walk_of(folder: Path, *, kept: int = 0) -> Walk:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return Walk(descriptor, kept=kept)
    finally:
        os.close(descriptor)


def deep(folder: Path, depth: int) -> None:
    """Make a chain of folders that no path could name."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_folder_deeper_than_any_path_is_walked_with_one_descriptor(top: Path) -> None:
    deep(top, 500)
    (top / "last").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    walk = walk_of(top)
    entered = []
    walk.enter("last")
    walk.enter("d" * 100)
    deepest = 0
    while (name := walk.advance()) is not None:
        entered.append(name)
        deepest = max(deepest, walk.depth)
        for found in walk.names():
            walk.enter(found)
        assert len(os.listdir("/proc/self/fd")) == before + 1
    walk.close()
    assert deepest == 500
    assert entered[-1] == "last"
    assert walk.depth == 0


@pytest.mark.parametrize("name", ["link", "file", "gone"])
def test_what_is_no_folder_is_not_entered(top: Path, tmp_path: Path, name: str) -> None:
    (top / "link").symlink_to(tmp_path)
    (top / "file").touch()
    walk = walk_of(top)
    walk.enter(name)
    assert walk.advance() is None
    assert os.fstat(walk.here).st_ino == top.stat().st_ino
    walk.close()


def test_a_folder_that_was_moved_out_leads_nowhere(top: Path, tmp_path: Path) -> None:
    (top / "a/b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    walk = walk_of(top)
    walk.enter("a")
    walk.advance()
    walk.enter("b")
    walk.advance()
    (top / "a/b").rename(tmp_path / "outside/b")
    with pytest.raises(MovedError):
        walk.advance()
    walk.close()


def test_from_a_folder_that_was_moved_out_it_goes_back_where_levels_are_kept(top: Path, tmp_path: Path) -> None:
    (top / "a/b/c").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    walk = walk_of(top, kept=2)
    walk.enter("last")
    (top / "last").mkdir()
    for name in "abc":
        walk.enter(name)
        walk.advance()
    assert len(os.listdir("/proc/self/fd")) == before + 3
    (top / "a/b").rename(tmp_path / "b")
    assert walk.advance() == "last"
    assert os.fstat(walk.here).st_ino == (top / "last").stat().st_ino
    assert walk.advance() is None
    walk.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_was_removed_ends_the_walk(top: Path) -> None:
    (top / "a").mkdir()
    walk = walk_of(top)
    walk.enter("a")
    walk.advance()
    (top / "a").rmdir()
    with contextlib.suppress(MovedError):
        # Some file systems still know `..` of a removed folder, and then there is nothing more.
        assert walk.advance() is None
    walk.close()


def test_looking_follows_no_link(top: Path) -> None:
    (top / "link").symlink_to("/")
    walk = walk_of(top)
    status = walk.look("link")
    assert status is not None
    assert status.st_ino == (top / "link").lstat().st_ino
    assert walk.look("nothing") is None
    walk.close()

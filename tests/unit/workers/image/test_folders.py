"""Folders of the library are locked, written out before they are named, and named once."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from hermit_workers.image import folders
from hermit_workers.image.errors import ImageError


def test_a_folder_that_is_held_cannot_be_taken(tmp_path: Path) -> None:
    shared, alone = fcntl.LOCK_SH, fcntl.LOCK_EX
    lock = folders.locked
    with lock(tmp_path, shared) as one, lock(tmp_path, shared) as two, lock(tmp_path, alone) as three:
        assert (one, two, three) == (True, True, False)
    with folders.locked(tmp_path, fcntl.LOCK_EX) as held:
        assert held
    with folders.locked(tmp_path / "none", fcntl.LOCK_EX) as held:
        assert not held


def test_a_new_folder_is_held_by_who_made_it(tmp_path: Path) -> None:
    folder, lock = folders.fresh(tmp_path)
    with folders.locked(folder, fcntl.LOCK_EX) as held:
        assert not held
    os.close(lock)
    with folders.locked(folder, fcntl.LOCK_EX) as held:
        assert held


def test_a_folder_that_is_not_empty_is_not_replaced(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    folders.name_folder(tmp_path / "new", tmp_path / "old")
    assert os.listdir(tmp_path / "old") == ["old"]
    folders.name_folder(tmp_path / "new", tmp_path / "other")
    assert os.listdir(tmp_path / "other") == ["new"]


def test_all_of_the_file_system_is_written_out(tmp_path: Path) -> None:
    folders.thd_write_out(tmp_path)


def test_a_disk_that_does_not_take_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk here fails on demand."""

    class Failing:
        def syncfs(self, _: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    def failing(*_: Any, **__: Any) -> Failing:
        return Failing()

    monkeypatch.setattr(ctypes, "CDLL", failing)
    with pytest.raises(ImageError, match="Input/output error") as caught:
        folders.thd_write_out(tmp_path)
    assert "dmesg" in str(caught.value.hint)

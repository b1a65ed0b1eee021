"""Tests that both files are written or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.init.files import write_all
from hermit_proxy.errors import HermitError


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_all_files_are_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_all({tmp_path / "a/b": "1\n", tmp_path / "a/c": "2\n"})
    assert content(tmp_path) == {"a/b": "1\n", "a/c": "2\n"}


def test_a_file_that_cannot_be_put_in_place_takes_the_others_back(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("old")
    (tmp_path / "c/in the way").mkdir(parents=True)
    with pytest.raises(HermitError, match="cannot be written"):
        write_all({tmp_path / "b": "new", tmp_path / "d": "new", tmp_path / "c": "new"})
    assert content(tmp_path) == {"b": "old"}


def test_a_folder_that_was_made_goes_where_nothing_could_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(HermitError, match="No space left on device"):
        write_all({tmp_path / ".hermit/a": "1"})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_own_is_told(tmp_path: Path) -> None:
    (tmp_path / ".hermit").write_text("no folder")
    with pytest.raises(HermitError, match=r"\.hermit cannot be written"):
        write_all({tmp_path / ".hermit/a": "1"})
    assert content(tmp_path) == {".hermit": "no folder"}

"""Finds the ids of cells, and says what to do where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.sandbox.namespaces import idmap

NOBODY = 4_000_000  # no system has a name for it


def etc(folder: Path, users: str, groups: str) -> Path:
    (folder / "subuid").write_text(users)
    (folder / "subgid").write_text(groups)
    return folder


@pytest.mark.parametrize(
    ("users", "groups", "user", "found"),
    [
        (f"{NOBODY}:100000:65536\n", f"{NOBODY}:200000:65536\n", NOBODY, (100000, 200000)),
        (f"x:1:65536\n{NOBODY}:5:10\n{NOBODY}:300000:70000\n", f"{NOBODY}:1:65536", NOBODY, (300000, 1)),
        ("root:700000:65536\n", "root:800000:65536\n", 0, (700000, 800000)),
        ("", "", 0, (idmap.ROOT_START, idmap.ROOT_START)),
        ("# nothing\nroot:rubbish\n", "root:1:2:3\n", 0, (idmap.ROOT_START, idmap.ROOT_START)),
    ],
)
def test_the_first_range_that_is_large_enough_is_taken(
    tmp_path: Path, users: str, groups: str, user: int, found: tuple[int, int]
) -> None:
    assert idmap.find(user, folder=etc(tmp_path, users, groups)) == idmap.IdMap(*found)


@pytest.mark.parametrize(
    ("users", "groups", "hint"),
    [
        ("", "", f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {NOBODY}"),
        (
            "a:100000:65536\nb:165536:65536\n",
            f"{NOBODY}:1:65536",
            f"sudo usermod --add-subuids 231072-296607 {NOBODY}",
        ),
        (f"{NOBODY}:100000:65535\n", f"{NOBODY}:1:65536", f"sudo usermod --add-subuids 165535-231070 {NOBODY}"),
        (f"{NOBODY}:100000:65536\n", "a:100000:65536\n", f"sudo usermod --add-subgids 165536-231071 {NOBODY}"),
    ],
)
def test_who_has_no_range_is_told_the_command_that_gives_one(
    tmp_path: Path, users: str, groups: str, hint: str
) -> None:
    with pytest.raises(CellError) as caught:
        idmap.find(NOBODY, folder=etc(tmp_path, users, groups))
    assert caught.value.hint == hint


def test_missing_files_are_like_empty_ones(tmp_path: Path) -> None:
    with pytest.raises(CellError, match=r"subuid and .*/subgid have no 65536 ids"):
        idmap.find(NOBODY, folder=tmp_path)


def test_nobody_in_a_cell_is_this_user() -> None:
    ids = idmap.find()
    assert not ids.users <= os.geteuid() < ids.users + idmap.COUNT
    assert not ids.groups <= os.getegid() < ids.groups + idmap.COUNT


def test_a_user_without_a_name_is_told_that_the_tools_want_one() -> None:
    assert idmap._named(NOBODY) == f"the tools want a name for uid {NOBODY}: sudo useradd --uid {NOBODY} builder"
    assert idmap._named(os.geteuid()) == "hermit doctor"

"""Checks what a run hides; tests/integration/test_run_command.py has it run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli.conduct import _data_folders, _store_folder

USER = {"HOME": "/home/user"}


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("", None),
        ("/srv/store", Path("/srv/store")),
        ("~/store", Path("/home/user/store")),
        ("~", Path("/home/user")),
        ("file:///srv/a%20store", Path("/srv/a store")),
        ("redis://store.example.org/0", None),
        ("unix:///run/redis.sock?db=1", None),
    ],
)
def test_a_store_that_is_a_folder_is_hidden(url: str, folder: Path | None) -> None:
    assert _store_folder(url, USER) == folder


@pytest.mark.parametrize(
    ("variables", "folders"),
    [
        ({}, ["/home/user/.local/share/hermit", "/home/user/.cache/hermit"]),
        ({"XDG_DATA_HOME": "/data", "XDG_CACHE_HOME": "relative"}, ["/data/hermit", "/home/user/.cache/hermit"]),
    ],
)
def test_the_users_folders_are_those_of_the_xdg_specification(variables: dict[str, str], folders: list[str]) -> None:
    assert _data_folders({**USER, **variables}) == [Path(folder) for folder in folders]

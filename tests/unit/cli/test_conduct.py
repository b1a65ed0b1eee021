"""Checks what a run hides; tests/integration/test_run_command.py has it run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermit_cli.conduct import _data_folders, _store_folder, to_the_end

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


def test_what_must_be_done_is_done_before_a_cancelled_task_ends() -> None:
    done: list[str] = []

    async def clear_up() -> None:
        for number in range(3):
            await asyncio.sleep(0)
            done.append(f"part {number}")

    async def run() -> None:
        task = asyncio.create_task(to_the_end(clear_up()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert done == ["part 0", "part 1", "part 2"]


def test_what_must_be_done_gives_its_result_or_its_error() -> None:
    async def give(value: int) -> int:
        await asyncio.sleep(0)
        return 6 // value

    assert asyncio.run(to_the_end(give(2))) == 3
    with pytest.raises(ZeroDivisionError):
        asyncio.run(to_the_end(give(0)))

"""Runs programs of the host as the root of the mapped ids, and removes what only they may."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.sandbox.namespaces import idmap
from hermit_workers.sandbox.namespaces.mapped import remove_tree, run_mapped


def run(*argv: str, **others: object) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output:
        status = asyncio.run(run_mapped(argv, stdout=output.fileno(), **others))  # type: ignore[arg-type]  # passed on
        output.seek(0)
        return status, output.read().decode()


def test_a_program_is_root_of_the_mapped_ids_and_reaches_the_users_own_folders(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    script = "id -u; mkdir x && chown 7:8 x && chmod 700 x && touch x/y && stat -c %u:%g ."
    assert run("sh", "-c", script, folder=tmp_path) == (0, f"0\n{idmap.OWN}:{idmap.OWN}\n")
    ids = idmap.find()
    found = (tmp_path / "x").stat()
    assert (found.st_uid, found.st_gid) == (ids.users + 7, ids.groups + 8)


@pytest.mark.parametrize(
    ("argv", "status"),
    [(("true",), 0), (("sh", "-c", "exit 5"), 5), (("sh", "-c", "kill -9 $$"), 137), (("no-such",), 127)],
)
def test_the_status_is_the_programs(argv: tuple[str, ...], status: int) -> None:
    assert run(*argv)[0] == status


def test_it_has_the_descriptors_and_variables_that_it_was_given_and_an_empty_stdin() -> None:
    read, write = os.pipe()
    script = f"cat; echo $A; echo through > /proc/self/fd/{write}"
    assert run("sh", "-c", script, pass_fds=[write], environment={"A": "b", "PATH": os.environ["PATH"]}) == (0, "b\n")
    os.close(write)
    assert os.read(read, 100) == b"through\n"
    os.close(read)


def test_a_cancelled_program_is_killed(tmp_path: Path) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(
            run_mapped(["sh", "-c", "echo $$ > new; mv new number; exec sleep 1000"], folder=tmp_path)
        )
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if "number" in os.listdir(tmp_path):
                break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "number").read_text()), signal.SIGCONT)


def test_a_tree_of_mapped_owners_is_removed_and_nothing_behind_its_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    tree = tmp_path / "tree"
    tree.mkdir()
    script = "mkdir a && touch a/b && ln -s ../kept k && chown -R 9:9 . && chmod 0 a"
    assert run("sh", "-c", script, folder=tree)[0] == 0
    asyncio.run(remove_tree(tree))
    assert os.listdir(tmp_path) == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    asyncio.run(remove_tree(tmp_path / "none" / "such"))


def test_what_cannot_be_removed_is_named() -> None:
    with pytest.raises(CellError, match="/proc/version cannot be removed"):
        asyncio.run(remove_tree(Path("/proc/version")))

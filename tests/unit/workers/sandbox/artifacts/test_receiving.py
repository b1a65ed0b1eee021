"""Takes artifacts out of real stopped cells, as descriptors of files that only the cell's users could read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

import pytest

from hermit_workers.cell import CellError, Limits, Taken
from hermit_workers.sandbox.artifacts import receiving
from hermit_workers.sandbox.artifacts.taking import ArtifactError
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.namespaces import inside
from tests.support.sandbox import image, sh, started

_FOLDER = PurePosixPath("/build/p")


def after(
    folder: Path, script: str, work: Callable[[SandboxCell], Awaitable[None]], *, limits: Limits | None = None
) -> None:
    async def run() -> None:
        async with started(folder, limits) as cell:
            assert (await sh(cell, f"mkdir /build/p; cd /build/p; {script}", "root")).status == 0
            await cell.stop()
            await work(cell)

    image()
    asyncio.run(run())


def content(taken: Taken) -> bytes:
    with os.fdopen(taken.descriptor, "rb") as file:
        return file.read()


def test_files_come_with_their_bytes_whoever_may_read_them(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        found = await cell.take(_FOLDER, ["dist/*", "x"])
        told = {str(one.path): (one.size, one.executable, content(one)) for one in found}
        assert told == {"dist/a": (2, False, b"1\n"), "dist/b": (2, True, b"2\n"), "x": (0, False, b"")}

    script = (
        "mkdir dist; echo 1 > dist/a; echo 2 > dist/b; chmod 755 dist/b; touch x; chmod 600 dist/a; chmod 700 dist ."
    )
    after(tmp_path / "cell", script, work)


@pytest.mark.parametrize(
    ("script", "folder", "said"),
    [
        ("ln -s /etc/passwd dist", "/build/p", "dist"),
        ("mkdir q; mv q ../q; cd ..; rmdir p; ln -s / p; touch q/dist", "/build/p", "/build/p: "),
        ("true", "/build/none", "/build/none: No such file"),
        ("true", "/build/p", "the build made no such file"),
        ("mkfifo dist", "/build/p", "dist"),
    ],
)
def test_what_is_no_plain_file_is_an_error_and_no_descriptor_stays(
    tmp_path: Path, script: str, folder: str, said: str
) -> None:
    async def work(cell: SandboxCell) -> None:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(ArtifactError, match=said):
            await cell.take(PurePosixPath(folder), ["*", "dist"])
        assert len(os.listdir("/proc/self/fd")) == len(before)

    after(tmp_path / "cell", script, work)


def test_too_much_is_refused_and_what_came_before_is_closed(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(ArtifactError):
            await cell.take(_FOLDER, ["*"])
        assert len(os.listdir("/proc/self/fd")) == len(before)

    script = "for n in 1 2 3 4; do head -c 400 /dev/zero > $n; done"
    after(tmp_path / "cell", script, work, limits=Limits(artifacts=1000))


def test_more_files_than_a_socket_holds_come_all(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        found = await cell.take(_FOLDER, ["*"])
        assert sorted(str(one.path) for one in found) == sorted(map(str, range(1, 1501)))
        for one in found:
            os.close(one.descriptor)

    after(tmp_path / "cell", "for n in $(seq 1500); do echo > $n; done", work)


def test_a_running_cell_gives_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with started(tmp_path / "cell") as cell:
            with pytest.raises(CellError, match="a stopped cell"):
                await cell.take(_FOLDER, ["*"])

    image()
    asyncio.run(run())


def test_a_kept_and_stopped_cell_gives_its_files_and_leaves_them(tmp_path: Path) -> None:
    async def work(cell: SandboxCell) -> None:
        await cell.keep()
        (one,) = await cell.take(_FOLDER, ["x"])
        assert content(one) == b"1\n"

    after(tmp_path / "cell", "echo 1 > x", work)
    assert (tmp_path / "cell" / "layers" / "upper" / "build" / "p" / "x").exists()


def test_a_file_whose_descriptor_found_no_room_is_told_as_such() -> None:
    async def run() -> None:
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        with ours, theirs:
            inside.send(theirs, {"path": "a", "size": 1, "executable": False})
            await receiving._until_done(ours, [])

    with pytest.raises(ArtifactError, match="more files than this user may have open"):
        asyncio.run(run())


def test_patterns_may_be_many_and_long(tmp_path: Path) -> None:
    many = [f"{'x' * 200}{number}/*" for number in range(500)]  # more than one message holds

    async def work(cell: SandboxCell) -> None:
        with pytest.raises(ArtifactError, match="the build made no such file"):
            await cell.take(_FOLDER, many)

    after(tmp_path / "cell", "true", work)

"""Makes disks and reads them back with e2fsprogs, and as a guest reads a tar."""

from __future__ import annotations

import asyncio
import io
import stat
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cell import CellError
from hermit_workers.cellfiles import CellFile, as_tar
from hermit_workers.sandbox.namespaces.mapped import remove_tree
from hermit_workers.vm.guest import disks
from tests.support.smallimages import EPOCH, make_tree, mapped


@pytest.fixture
def folder(tmp_path: Path) -> object:
    folder = tmp_path / "image"
    folder.mkdir()
    make_tree(folder, "some content")
    yield folder
    asyncio.run(remove_tree(folder))


def debugfs(disk: Path, request: str) -> str:
    done = subprocess.run(["debugfs", "-R", request, disk], capture_output=True, text=True, check=True)
    return done.stdout


def test_an_images_disk_has_its_files_with_owners_modes_and_links(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "disk"
    asyncio.run(disks.make_image_disk(folder, 1 << 20, EPOCH, target))
    assert debugfs(target, "cat /etc/content") == "some content"
    shadow, home = debugfs(target, "stat /etc/shadow"), debugfs(target, "stat /home/build")
    assert "Mode:  0600" in shadow
    assert "User:     0   Group:     0" in shadow
    assert "User:  1000   Group:  1000" in home
    assert 'Fast link dest: "/etc/content"' in debugfs(target, "stat /etc/link")
    assert "Links: 2" in debugfs(target, "stat /etc/second-name")
    assert subprocess.run(["e2fsck", "-fn", target], capture_output=True, check=False).returncode == 0


def test_everybody_reads_it_and_nobody_writes_it(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "disk"
    asyncio.run(disks.make_image_disk(folder, 1 << 20, EPOCH, target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_scratch_disk_that_is_given_up_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, number = tmp_path / "mke2fs", tmp_path / "number"
    program.write_text(f"#!/bin/sh\necho $$ >{number}.new\nmv {number}.new {number}\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setitem(disks._ENVIRONMENT, "PATH", f"{tmp_path}:{disks._ENVIRONMENT['PATH']}")

    async def scenario() -> None:
        making = asyncio.create_task(disks.make_scratch_disk(64 << 20, tmp_path / "disk"))
        async with asyncio.timeout(60):
            while not number.exists():  # noqa: ASYNC110  a program tells nobody
                await asyncio.sleep(0.02)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making

    asyncio.run(scenario())
    assert not Path("/proc", number.read_text().strip()).exists()


def test_a_tree_that_does_not_fit_leaves_nothing_and_says_so(folder: Path, tmp_path: Path) -> None:
    mapped("head -c 4000000 /dev/zero | tr '\\0' x >root/big", folder)
    with pytest.raises(CellError, match="mke2fs failed"):
        asyncio.run(disks.make_image_disk(folder, -(46 << 20), EPOCH, tmp_path / "disk"))
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_a_scratch_disk_is_as_large_as_was_asked_and_takes_no_room(tmp_path: Path) -> None:
    target = tmp_path / "disk"
    asyncio.run(disks.make_scratch_disk((10 << 30) + 5, target))
    status = target.stat()
    assert status.st_size == 10 << 30
    assert status.st_blocks * 512 < 32 << 20
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert "has_journal" not in debugfs(target, "features")


def test_a_scratch_disk_too_small_to_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CellError, match="64 MiB at least"):
        asyncio.run(disks.make_scratch_disk(1 << 20, tmp_path / "disk"))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 100_000])
def test_a_data_disk_is_a_tar_in_whole_sectors_that_only_its_owner_reads(tmp_path: Path, size: int) -> None:
    target = tmp_path / "disk"
    with as_tar([CellFile(PurePosixPath("/run/hermit/x"), b"s" * size)], EPOCH) as archive:
        disks.make_data_disk(archive, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.stat().st_size % 512 == 0
    with tarfile.open(target) as found:
        content = found.extractfile("run/hermit/x")
        assert content is not None
        assert content.read() == b"s" * size


def test_an_archive_without_its_end_is_a_whole_one_on_the_disk(tmp_path: Path) -> None:
    with as_tar([CellFile(PurePosixPath("/x"), b"y")], EPOCH) as archive:
        cut = io.BytesIO(archive.read(512 + 1))
    disks.make_data_disk(cut, tmp_path / "disk")
    assert (tmp_path / "disk").read_bytes()[513:] == bytes(512 - 1 + 1024)
    with tarfile.open(tmp_path / "disk") as found:
        assert found.getnames() == ["x"]


def test_a_data_disk_takes_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CellError, match="cannot be written: File exists"):
        disks.make_data_disk(io.BytesIO(b""), tmp_path / "disk")
    assert not (tmp_path / "elsewhere").exists()


def test_an_out_disk_is_empty_and_has_whole_mebibytes(tmp_path: Path) -> None:
    disks.make_out_disk(1, tmp_path / "disk")
    assert (tmp_path / "disk").stat().st_size == 1 << 20
    assert (tmp_path / "disk").stat().st_blocks == 0

"""Makes what boots once, and again only where something of it is another."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.image.errors import ImageError
from hermit_workers.vm.boot import make_bootable
from hermit_workers.vm.guest import disks as real
from tests.unit.workers.vm.guest.conftest import image as image_root

__all__ = ["image_root"]


@pytest.fixture
def disks(image_root: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Have disks made as files with a word; test_disks.py makes real ones. Give those that were made."""
    made: list[Path] = []

    async def make(folder: Path, _size: int, _epoch: int, target: Path) -> None:
        assert folder == image_root.parent
        made.append(target)
        await asyncio.sleep(0.01)
        await asyncio.to_thread(target.write_bytes, b"disk")

    monkeypatch.setattr(real, "make_image_disk", make)
    return made


def test_two_builds_at_once_make_one_and_the_next_finds_it(image_root: Path, disks: list[Path], tmp_path: Path) -> None:
    async def scenario() -> None:
        asked = [make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache") for _ in range(2)]
        one, two = await asyncio.gather(*asked)
        assert one == two == await make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache")
        assert len(disks) == 1
        assert {path.name: path.read_bytes() for path in one.folder.iterdir()}.keys() == {"kernel", "initrd", "image"}
        for name in ("kernel", "initrd"):
            assert stat.S_IMODE((one.folder / name).stat().st_mode) == 0o444
        assert (one.folder / "kernel").read_bytes() == b"kernel"

    asyncio.run(scenario())


def test_another_image_or_kernel_is_another_folder(image_root: Path, disks: list[Path], tmp_path: Path) -> None:
    async def scenario() -> None:
        first = await make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache")
        second = await make_bootable(image_root.parent, "sha256:2", 1, 0, tmp_path / "cache")
        (kernel,) = (image_root / "boot").iterdir()
        kernel.write_bytes(b"another")
        third = await make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache")
        assert len({first.folder, second.folder, third.folder}) == len(disks) == 3

    asyncio.run(scenario())


def test_what_fails_half_way_leaves_nothing(image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise CellError("no room")

    monkeypatch.setattr(real, "make_image_disk", fail)
    with pytest.raises(CellError, match="no room"):
        asyncio.run(make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache"))
    assert os.listdir(tmp_path / "cache") == [".lock"]


def test_an_image_that_does_not_boot_is_told_before_anything_is_made(image_root: Path, tmp_path: Path) -> None:
    (image_root / "usr/bin/busybox").unlink()
    with pytest.raises(ImageError, match="busybox"):
        asyncio.run(make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()

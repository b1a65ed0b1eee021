"""Makes what boots once, and again only where something of it is another or damaged."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.image.errors import ImageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.moving import DamagedImageError
from hermit_workers.vm import boot
from hermit_workers.vm.boot import Bootable, Guest, boot_folders, boot_image, make_bootable
from hermit_workers.vm.bootfolder import read_record, thd_remove
from hermit_workers.vm.guest import disks as real
from tests.support.smallimages import add_image, mapped
from tests.unit.workers.vm.guest.conftest import image as image_root

__all__ = ["image_root"]

BEGINS = """
mkdir -p root/boot root/usr/bin root/usr/lib
cp -r {0}/boot/* root/boot
cp {0}/usr/bin/busybox root/usr/bin
cp -r {0}/usr/lib/modules root/usr/lib
ln -s usr/lib root/lib
ln -s usr/bin root/bin
"""


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Have disks made as files with a word; test_disks.py makes real ones. Give those that were made."""
    made: list[Path] = []

    async def make(_folder: Path, _size: int, _epoch: int, target: Path) -> None:
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
        assert {path.name: path.read_bytes() for path in one.folder.iterdir()}.keys() == {
            *("kernel", "initrd", "image", "boot.json"),
        }
        for name in ("kernel", "initrd"):
            assert stat.S_IMODE((one.folder / name).stat().st_mode) == 0o444
        assert (one.folder / "kernel").read_bytes() == b"kernel"

    asyncio.run(scenario())


def test_another_image_guest_or_hermit_is_another_folder(
    image_root: Path, disks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        image, cache = image_root.parent, tmp_path / "cache"
        one, two = Guest(image, "sha256:g1"), Guest(image, "sha256:g2")
        found = [
            await make_bootable(image, "sha256:1", 1, 0, cache),
            await make_bootable(image, "sha256:2", 1, 0, cache),
            await make_bootable(image, "sha256:1", 1, 0, cache, guest=one),
            await make_bootable(image, "sha256:1", 1, 0, cache, guest=two),
        ]
        monkeypatch.setattr(boot, "own_parts", lambda: b"another init")
        found.append(await make_bootable(image, "sha256:1", 1, 0, cache))
        assert len({one.folder for one in found}) == len(disks) == len(found)

    asyncio.run(scenario())


def test_what_fails_half_way_leaves_nothing(image_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise CellError("no room")

    monkeypatch.setattr(real, "make_image_disk", fail)
    with pytest.raises(CellError, match="no room"):
        asyncio.run(make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache"))
    assert os.listdir(tmp_path / "cache") == [".lock"]


def test_a_guest_that_does_not_boot_is_told_before_a_disk_is_made(
    image_root: Path, disks: list[Path], tmp_path: Path
) -> None:
    (image_root / "usr/bin/busybox").unlink()
    with pytest.raises(ImageError, match="busybox"):
        asyncio.run(make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache"))
    assert disks == []
    assert os.listdir(tmp_path / "cache") == [".lock"]


@pytest.mark.parametrize("name", ["kernel", "initrd", "image"])
def test_what_is_damaged_is_told_and_made_anew(image_root: Path, disks: list[Path], tmp_path: Path, name: str) -> None:
    said: list[str] = []

    async def make() -> Bootable:
        return await make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache", say=said.append)

    async def scenario() -> None:
        made = await make()
        assert said == ["making the disk that VMs of 1 boot from: once"]
        whole = (made.folder / name).read_bytes()
        (made.folder / name).chmod(0o600)
        os.truncate(made.folder / name, 1)
        with pytest.raises(CellError, match=f"{name} has 1 bytes, .* and a VM uses it"):
            await make()
        folder = made.folder
        del made
        gc.collect()
        again = await make()
        assert again.folder == folder
        assert (folder / name).read_bytes() == whole
        assert f"{name} has 1 bytes" in said[1]
        assert said[1].endswith(": it is made anew")
        assert await make() == again
        assert len(disks) == 2

    asyncio.run(scenario())


@pytest.mark.usefixtures("disks")
def test_nobody_removes_what_somebody_has(image_root: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        made = await make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache")
        also = await make_bootable(image_root.parent, "sha256:1", 1, 0, tmp_path / "cache")
        folder = made.folder
        assert not thd_remove(folder)
        del made
        gc.collect()
        assert not thd_remove(folder)
        del also
        gc.collect()
        assert thd_remove(folder)

    asyncio.run(scenario())


@pytest.fixture
def guest(image_root: Path) -> Image:
    """Put a guest image into the library that begins as a real one does."""
    return add_image(Library.of(os.environ), "guest", name="hermit-guest", more=BEGINS.format(image_root))


@pytest.mark.usefixtures("disks")
def test_an_image_of_the_library_is_booted_by_the_guest_image(guest: Image) -> None:
    image = add_image(Library.of(os.environ), "a project's")
    made = asyncio.run(boot_image(image, guest, boot_folders(os.environ), lambda _: None))
    record = read_record(made.folder)
    assert record is not None
    assert (record.image, record.guest) == (image.digest, guest.digest)
    assert (made.folder / "kernel").read_bytes() == b"kernel"
    assert made.folder.parent == Path(os.environ["XDG_CACHE_HOME"]) / "hermit/vm/boot"


@pytest.mark.parametrize(
    ("whose", "script", "told", "mend"),
    [
        (
            "guest",
            "for file in root/boot/vmlinuz-*; do printf x >$file; done",
            r"\./boot/vmlinuz-.*: content",
            "hermit image build --guest --rebuild",
        ),
        (
            "guest",
            "printf x >root/usr/bin/busybox",
            "./usr/bin/busybox: content",
            "hermit image build --guest --rebuild",
        ),
        ("image", "printf x >root/etc/content", "./etc/content: content", "hermit image build --rebuild"),
        ("image", "rm root/etc/shadow", "./etc/shadow: missing", "hermit image build --rebuild"),
    ],
)
def test_a_damaged_tree_boots_nothing_and_says_what_mends_it(  # noqa: PLR0917  a table
    guest: Image, disks: list[Path], whose: str, script: str, told: str, mend: str
) -> None:
    image = add_image(Library.of(os.environ), "a project's")
    mapped(script, {"guest": guest, "image": image}[whose].folder)
    with pytest.raises(DamagedImageError, match=told) as caught:
        asyncio.run(boot_image(image, guest, boot_folders(os.environ), lambda _: None))
    assert mend in str(caught.value.hint)
    assert disks == []

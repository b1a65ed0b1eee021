"""An image goes to another machine in one file; what arrives is what left, or nothing."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode
from hermit_workers.image import tree
from hermit_workers.image.errors import ImageError
from hermit_workers.image.library import Image, Library
from hermit_workers.image.moving import (
    DamagedImageError,
    ForeignImageError,
    export_image,
    import_image,
    verify_image,
)
from tests.support.smallimages import add_image, mapped


@pytest.fixture
def image() -> Image:
    return add_image(Library.of(os.environ))


@pytest.fixture
def parcel(image: Image, tmp_path: Path) -> Path:
    asyncio.run(export_image(image, tmp_path / "x.tar"))
    return tmp_path / "x.tar"


@pytest.fixture
def other(tmp_path: Path) -> Library:
    return Library(tmp_path / "other")


def bring(parcel: Path, other: Library, digest: str) -> Image:
    return asyncio.run(import_image(parcel, other, digest))


def test_an_image_arrives_as_it_left(image: Image, parcel: Path, other: Library) -> None:
    found = bring(parcel, other, image.digest)
    assert found.folder.parent == other.folder
    assert other.images() == [found]
    assert (found.imported, image.imported) == (True, False)
    same = ("name", "digest", "recipe", "architecture", "made", "packages", "size", "content")
    assert [getattr(found, name) for name in same] == [getattr(image, name) for name in same]
    asyncio.run(verify_image(found))
    assert found.bill.read_bytes() == image.bill.read_bytes()
    assert (found.folder / "hermit" / "recorded").read_bytes() == (image.folder / "hermit" / "recorded").read_bytes()


def test_exporting_twice_gives_the_same_bytes_in_a_file_that_others_may_read(
    image: Image, parcel: Path, tmp_path: Path
) -> None:
    asyncio.run(export_image(image, tmp_path / "y.tar"))
    assert parcel.read_bytes() == (tmp_path / "y.tar").read_bytes()
    assert parcel.stat().st_mode & 0o777 == 0o644


def test_a_tree_that_has_changed_is_named_and_not_exported(image: Image, tmp_path: Path) -> None:
    mapped("chmod 0644 root/etc/shadow", image.folder)
    with pytest.raises(DamagedImageError, match=image.digest) as caught:
        asyncio.run(verify_image(image))
    assert caught.value.exit_code == ExitCode.MACHINE
    assert str(caught.value).endswith("now\n  ./etc/shadow: mode 0644, was 0600")
    with pytest.raises(DamagedImageError, match="shadow"):
        asyncio.run(export_image(image, tmp_path / "x.tar"))
    assert [entry.name for entry in tmp_path.iterdir()] == []


def test_a_tree_that_is_gone_is_damaged_too(image: Image) -> None:
    mapped("rm -r root/*; rmdir root", image.folder)
    with pytest.raises(DamagedImageError, match="cannot be read") as caught:
        asyncio.run(verify_image(image))
    assert "--rebuild" in str(caught.value.hint)


def test_importing_an_image_puts_a_damaged_one_right(image: Image, parcel: Path) -> None:
    mapped("chmod 0644 root/etc/shadow", image.folder)
    assert bring(parcel, Library.of(os.environ), image.digest).imported
    asyncio.run(verify_image(image))


def test_a_machine_that_unpacks_another_tree_than_was_sent_is_told(
    image: Image, parcel: Path, other: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for word in tree._UNPACK if word != "--preserve-permissions"]
    monkeypatch.setattr(tree, "_UNPACK", (*words, "--no-same-permissions"))
    with pytest.raises(ImageError, match="unpacked here") as caught:
        bring(parcel, other, image.digest)
    assert "tar" in str(caught.value.hint)
    assert os.listdir(other.folder) == []


def test_another_image_than_the_wanted_one_is_refused(parcel: Path, other: Library) -> None:
    wanted = "sha256:" + "0" * 64
    with pytest.raises(ForeignImageError, match="is wanted") as caught:
        bring(parcel, other, wanted)
    assert caught.value.exit_code == ExitCode.USAGE
    assert not other.folder.exists()


def flip(data: bytes) -> bytes:
    at = data.index(b"secret")
    return data[:at] + b"Secret" + data[at + 6 :]


def repacked(change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]]) -> Callable[[bytes], bytes]:
    def convert(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=buffer, mode="w") as new:
            for member in old:
                file = old.extractfile(member)
                assert file is not None
                found, content = change(member, file.read())
                found.size = len(content)
                new.addfile(found, io.BytesIO(content))
        return buffer.getvalue()

    return convert


def renamed(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        member.name = new if member.name == old else member.name
        return member, content

    return repacked(change)


def with_device(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if member.name == "hermit/recorded":
        member.type = tarfile.SYMTYPE
        member.linkname = "/etc/passwd"
        return member, b""
    return member, content


def emptied(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return member, b"{}" if member.name == "image.json" else content


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "one byte of a file": (flip, "is damaged"),
    "no tar": (lambda _: b"hello" * 1000, "is no image"),
    "nothing": (lambda _: b"", "is no image"),
    "cut short": (lambda data: data[: len(data) // 2], "is damaged"),
    "a name that leads out": (renamed("hermit/recorded", "../x"), "it holds '../x'"),
    "a snapshot file that is no host's": (renamed("hermit/recorded", "hermit/network/..%2fx.yaml"), "it holds"),
    "a link": (repacked(with_device), "it holds 'hermit/recorded'"),
    "no description": (renamed("image.json", "hermit/recorded"), "it holds"),
    "an empty description": (repacked(emptied), "does not describe"),
    "no tree": (renamed("root.tar", "tree.tar"), "it holds 'tree.tar'"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_file_that_is_no_image_leaves_nothing(image: Image, parcel: Path, other: Library, what: str) -> None:
    damage, told = DAMAGES[what]
    damaged = damage(parcel.read_bytes())
    assert damaged != parcel.read_bytes()
    parcel.write_bytes(damaged)
    with pytest.raises(Exception, match=told) as caught:
        bring(parcel, other, image.digest)
    assert caught.type.__module__.startswith("hermit")
    assert not other.folder.exists() or os.listdir(other.folder) == []


def test_a_disk_that_is_full_leaves_no_half_file(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(export_image(image, tmp_path / "x.tar"))
    assert os.listdir(tmp_path) == []

"""Carries one image to another machine in one file: a tar of what belongs to it, its tree last as a tar of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hermit_proxy.errors import ExitCode
from hermit_proxy.snapshot.tree import wrong_name
from hermit_workers.image import tree
from hermit_workers.image.beside import changes, describe_tree
from hermit_workers.image.errors import ImageError
from hermit_workers.image.library import DESCRIPTION, IMPORTED, Image, Library, read_description

_TREE = "root.tar"
_NETWORK = "hermit/network/"
_RECORDED = "hermit/recorded"
_MOST = 64 << 20
_MOST_FILES = 1000
_CHUNK = 1 << 20
_MENDS = "`hermit image build --rebuild` (from its record) or `hermit image import FILE` puts it right"


class DamagedImageError(ImageError):
    """Is raised where an image's bytes are not those that its digest says."""


class ForeignImageError(ImageError):
    """Is raised where a file holds another image than the one that is wanted, or none."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class _Parcel:
    """Is what a file holds: the image as it describes itself, its small files by name, and where its tree lies."""

    image: Image
    sources: dict[str, Any]
    files: dict[str, bytes]
    offset: int
    size: int


async def export_image(image: Image, target: Path) -> None:
    """Write an image to a file, whole or not at all; raise DamagedImageError where its tree has changed."""
    descriptor, fresh = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "wb") as out:  # noqa: ASYNC230  opened already
            for name, content in _small_files(image).items():
                _write_member(out, name, len(content))
                out.write(content + b"\0" * (-len(content) % tarfile.BLOCKSIZE))
            _write_member(out, _TREE, image.size)
            await _check(image, await tree.pack(image.folder, out.write))
            out.write(b"\0" * (-image.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE))
            out.flush()
            os.fsync(descriptor)
        os.chmod(fresh, 0o644)
        os.replace(fresh, target)
    except BaseException:
        os.unlink(fresh)
        raise


async def import_image(source: Path, library: Library, expected: str) -> Image:
    """Put the image of a file into the library; raise ForeignImageError unless its digest is `expected`."""
    parcel = await asyncio.to_thread(_thd_read, source, expected)
    with source.open("rb") as file:
        async with library.workshop() as workshop:
            folder = workshop / "image"
            (folder / _NETWORK).mkdir(parents=True)
            folder.chmod(0o755)
            for name, content in parcel.files.items():
                (folder / name).write_bytes(content)
            await tree.make_root(folder)
            file.seek(parcel.offset)
            await tree.unpack(file, parcel.size, folder)
            image = await describe_tree(dataclasses.replace(parcel.image, folder=folder), parcel.sources)
            if image.digest != expected:
                hint = "do this machine's tar and the file system of XDG_DATA_HOME keep owners, modes and attributes?"
                raise ImageError(f"unpacked here, the tree of {expected} is {image.digest}", hint=hint)
            (folder / IMPORTED).touch()
            return await library.add(folder)


async def verify_image(image: Image) -> None:
    """Read every byte of an image's tree; raise DamagedImageError where a byte, mode, owner, time or name differs."""
    try:
        packed = await tree.pack(image.folder)
    except ImageError as error:
        raise DamagedImageError(f"the tree of {image.digest} cannot be read: {error}", hint=_MENDS) from error
    await _check(image, packed)


async def _check(image: Image, packed: tree.Packed) -> None:
    if packed.digest != image.digest:
        told = "".join(f"\n  {line}" for line in await changes(image))
        raise DamagedImageError(
            f"the tree of {image.digest} has changed: its digest is {packed.digest} now{told}",
            hint=_MENDS,
        )


def _small_files(image: Image) -> dict[str, bytes]:
    files = {DESCRIPTION: (image.folder / DESCRIPTION).read_bytes(), _RECORDED: (image.folder / _RECORDED).read_bytes()}
    return files | {f"{_NETWORK}{path.name}": path.read_bytes() for path in sorted(image.network.glob("*.yaml"))}


def _write_member(out: IO[bytes], name: str, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    out.write(member.tobuf(tarfile.PAX_FORMAT))


def _thd_read(source: Path, expected: str) -> _Parcel:
    try:
        with source.open("rb") as file:
            parcel = _read_parcel(file, source)
            if parcel.image.digest != expected:
                raise ForeignImageError(f"{source} holds the image {parcel.image.digest}, and {expected} is wanted")
            sha256 = hashlib.sha256()
            part = _Part(file, parcel.offset, parcel.size)
            while data := part.read(_CHUNK):
                sha256.update(data)
            if f"sha256:{sha256.hexdigest()}" != expected:
                raise ForeignImageError(f"{source} is damaged: its tree is not {expected}", hint="export it again")
            tree.check_members(io.BufferedReader(_Part(file, parcel.offset, parcel.size)), str(source))
            return parcel
    except (tarfile.TarError, EOFError) as error:
        raise ForeignImageError(f"{source} is no image: {error}", hint="hermit image export makes one") from error


def _read_parcel(file: IO[bytes], source: Path) -> _Parcel:
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=file, mode="r:") as packed:
        for member in packed:
            if member.isreg() and member.name == _TREE and DESCRIPTION in files:
                image, sources = read_description(files.pop(DESCRIPTION), source)
                return _Parcel(image, sources, files, member.offset_data, member.size)
            network = member.name.startswith(_NETWORK) and not wrong_name(member.name.removeprefix(_NETWORK))
            known = network or member.name in {DESCRIPTION, _RECORDED}
            content = packed.extractfile(member) if known and member.isreg() and member.size <= _MOST else None
            if content is None or len(files) > _MOST_FILES:
                raise ForeignImageError(f"{source} is no image: it holds {member.name!r}")
            files[member.name] = content.read()
    raise ForeignImageError(f"{source} is no image: it holds no tree", hint="hermit image export makes one")


class _Part(io.RawIOBase):
    """Reads a part of a file."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        self._file = file
        self._left = size
        file.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)

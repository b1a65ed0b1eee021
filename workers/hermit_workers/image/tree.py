"""Packs and unpacks an image's tree so that the same tree gives the same bytes: their digest is the image's name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hermit_workers.image.errors import ImageError
from hermit_workers.image.listing import Entry, read_tar
from hermit_workers.sandbox.namespaces.idmap import COUNT
from hermit_workers.sandbox.namespaces.mapped import run_mapped

_CHUNK = 1 << 20
_TOLD = 2000
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"}
# The overlay file system's own notes (as an ordinary user writes them) say nothing of a tree.
_XATTRS = ("--xattrs", "--xattrs-include=*", "--xattrs-exclude=user.overlay.*")
# Every byte follows from the tree: no time of reading or of changed attributes, no number of a process, names in order.
_PACK = (
    "tar", "--create", "--file=-", "--sort=name", "--format=pax", "--numeric-owner", "--one-file-system",
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", *_XATTRS, "--directory=root", ".",
)  # fmt: skip
_UNPACK = (
    "tar", "--extract", "--file=-", "--preserve-permissions", "--same-owner", "--numeric-owner", *_XATTRS,
    "--directory=root",
)  # fmt: skip
_PLAIN = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)


@dataclass(frozen=True, slots=True)
class Packed:
    """Is what packing a tree gave: its digest (`sha256:<hex>`) and its bytes."""

    digest: str
    size: int


async def make_root(folder: Path) -> None:
    """Make the empty tree `root` in a folder, owned by the mapped root."""
    await _mapped(["install", "-d", "-m", "0755", "-o", "0", "-g", "0", "root"], folder)


async def clamp_times(folder: Path, epoch: int) -> None:
    """Give everything in the tree that is younger than `epoch` (seconds) that time, links too."""
    script = 'find root -newermt "@$1" -print0 | xargs -0 -r touch -h -c -d "@$1" --'
    await _mapped(["sh", "-euc", script, "sh", str(epoch)], folder)


async def pack(folder: Path, write: Callable[[bytes], object] = lambda _data: None) -> Packed:
    """Pack the tree `root` of a folder, give its tar to `write` in pieces, and say what it was."""
    read, out = os.pipe()
    digesting = asyncio.create_task(asyncio.to_thread(_thd_digest, read, write))
    try:
        await _mapped(_PACK, folder, stdout=out)
    finally:
        os.close(out)
        packed = await digesting
    return packed


async def listed(folder: Path) -> tuple[Packed, dict[str, Entry]]:
    """Pack the tree `root` of a folder for its digest, and list what is in it; raise ImageError where either fails."""
    read, out = os.pipe()
    listing = asyncio.create_task(asyncio.to_thread(_thd_list, read))
    try:
        await _mapped(_PACK, folder, stdout=out)
    finally:
        os.close(out)
        packed, found, error = await listing
    if error is not None:  # and tar has not failed, or that would have been raised
        raise ImageError(f"what tar says of the tree in {folder} cannot be read: {error}") from error
    return packed, found


async def unpack(archive: IO[bytes], size: int, folder: Path) -> None:
    """Unpack `size` bytes of a tar, as `pack` gives them, into the empty tree `root` of a folder."""
    read, out = os.pipe()
    feeding = asyncio.create_task(asyncio.to_thread(_thd_feed, archive, size, out))
    try:
        await _mapped(_UNPACK, folder, stdin=read)
    finally:
        os.close(read)
        await feeding


def check_members(archive: IO[bytes], name: str) -> None:
    """Raise ImageError for a tar that holds what no image does: devices, foreign owners, names that lead out."""
    with tarfile.open(fileobj=archive, mode="r|") as members:
        for member in members:
            parts = PurePosixPath(member.name).parts
            good = member.type in _PLAIN and ".." not in parts and not member.name.startswith("/")
            good = good and 0 <= member.uid < COUNT and 0 <= member.gid < COUNT
            if good and member.islnk():
                good = ".." not in PurePosixPath(member.linkname).parts and not member.linkname.startswith("/")
            if not good:
                raise ImageError(f"{name} is no image of Hermit's: it holds {member.name!r}")


async def _mapped(
    argv: tuple[str, ...] | list[str], folder: Path, *, stdin: int | None = None, stdout: int | None = None
) -> None:
    said = os.memfd_create("said")
    try:
        out = said if stdout is None else stdout
        status = await run_mapped(argv, stdin=stdin, stdout=out, stderr=said, environment=_ENVIRONMENT, folder=folder)
        told = os.pread(said, _TOLD, 0).decode(errors="replace").strip()
    finally:
        os.close(said)
    if status:
        raise ImageError(f"{argv[0]} failed on the tree in {folder}" + (f":\n{told}" if told else ""))


def _thd_digest(descriptor: int, write: Callable[[bytes], object]) -> Packed:
    sha256, size = hashlib.sha256(), 0
    # Closed where `write` fails, so that whoever fills the pipe fails too.
    with open(descriptor, "rb", buffering=0) as stream:
        while data := stream.read(_CHUNK):
            sha256.update(data)
            size += len(data)
            write(data)
    return Packed(f"sha256:{sha256.hexdigest()}", size)


def _thd_list(descriptor: int) -> tuple[Packed, dict[str, Entry], tarfile.TarError | None]:
    digesting = _Digesting(descriptor)
    found: dict[str, Entry] = {}
    wrong = None
    with io.BufferedReader(digesting, _CHUNK) as stream:
        try:
            found = read_tar(stream)
        except tarfile.TarError as error:  # most often tar has failed, and tells why
            wrong = error
        while stream.read(_CHUNK):  # what fills the last block
            pass
    return Packed(f"sha256:{digesting.sha256.hexdigest()}", digesting.size), found, wrong


class _Digesting(io.FileIO):
    """Reads a pipe and takes the digest of all that comes."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.sha256 = hashlib.sha256()
        self.size = 0

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self.sha256.update(memoryview(buffer)[:count])
        self.size += count or 0
        return count


def _thd_feed(archive: IO[bytes], size: int, descriptor: int) -> None:
    # tar may go before the end, and tells why. Buffered, because a write to a pipe may stop half-way.
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as out:
        while size and (data := archive.read(min(_CHUNK, size))):
            out.write(data)
            size -= len(data)

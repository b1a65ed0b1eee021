"""Makes a VM's disks: the image as a file system that nobody writes to, room for what a build writes, and a tar."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from hermit_workers.cell import CellError
from hermit_workers.sandbox.namespaces.mapped import run_mapped

IMAGE, SCRATCH, DATA, OUT = "hermit-image", "hermit-scratch", "hermit-data", "hermit-out"

_SECTOR = 512
_MIB = 1 << 20
_LEAST_SCRATCH = 64 * _MIB
_TOLD = 2000
_ENVIRONMENT = {"PATH": os.defpath + ":/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}
# No journal: what a crash left is thrown away with the rest. The bytes vary with the order in which a folder is read.
_MAKE = ("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0")
_UUID = "00000000-0000-4000-8000-000000000001"


async def make_image_disk(folder: Path, size: int, epoch: int, target: Path) -> None:
    """Write the tree `root` of an image's folder as an ext4 file system, whole or not at all; it is read by everybody.

    `size` is about what the tree has, in bytes (its tar's), `epoch` the time that the file system gives for itself.
    Raises CellError where it does not fit the host's disk.
    """
    fresh = target.with_name(f".{target.name}.new")
    # Of each file a last block is half empty, and there is an inode for every 16 KiB.
    room = size + size // 3 + 64 * _MIB
    command = (*_MAKE, "-U", _UUID, "-E", f"hash_seed={_UUID},lazy_itable_init=0,nodiscard", "-d", "root", str(fresh))
    try:
        _make_file(fresh, room - room % _MIB, 0o600)
        await _run(command, folder, {**_ENVIRONMENT, "E2FSPROGS_FAKE_TIME": str(max(epoch, 1))})
        os.chmod(fresh, 0o444)
        os.replace(fresh, target)
    except OSError as error:
        raise CellError(f"{target} cannot be written: {error.strerror}", hint="make room") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)


async def make_scratch_disk(size: int, target: Path) -> None:
    """Make the disk that a build writes to: no byte more than `size` fits, and none is taken before it is written."""
    if size < _LEAST_SCRATCH:
        raise CellError(f"a VM needs a disk of {_LEAST_SCRATCH >> 20} MiB at least; it has {size} bytes")
    try:
        _make_file(target, size - size % _MIB, 0o600)
    except OSError as error:
        raise CellError(f"{target} cannot be written: {error.strerror}", hint="make room") from error
    program = shutil.which("mke2fs", path=_ENVIRONMENT["PATH"])
    if program is None:
        raise CellError("mke2fs is not installed, and VMs need it", hint="sudo apt-get install e2fsprogs")
    options = ("-E", "lazy_itable_init=1,nodiscard,root_owner=0:0")
    made = await asyncio.create_subprocess_exec(
        program, *_MAKE[1:], *options, str(target),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env=_ENVIRONMENT,
    )  # fmt: skip
    try:
        _, said = await made.communicate()
    except BaseException:  # it would go on writing where everything is being removed
        with contextlib.suppress(ProcessLookupError):
            made.kill()
        await made.wait()
        raise
    if made.returncode:
        raise CellError(f"mke2fs failed on {target}: {said.decode(errors='replace').strip()}", hint="make room")


def make_data_disk(archive: BinaryIO, target: Path) -> None:
    """Copy a tar to a disk that only its owner reads: what it holds may be secret."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as disk:
            shutil.copyfileobj(archive, disk)
            # Two empty sectors end a tar, and a disk has whole sectors.
            disk.truncate(disk.tell() + 2 * _SECTOR + -disk.tell() % _SECTOR)
    except OSError as error:
        raise CellError(f"{target} cannot be written: {error.strerror}", hint="make room") from error


def make_out_disk(size: int, target: Path) -> None:
    """Make the disk that a guest writes its artifacts' tar to, of `size` bytes in whole MiB."""
    try:
        _make_file(target, size + -size % _MIB, 0o600)
    except OSError as error:
        raise CellError(f"{target} cannot be written: {error.strerror}", hint="make room") from error


def _make_file(target: Path, size: int, mode: int) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.truncate(descriptor, size)
    finally:
        os.close(descriptor)


async def _run(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> None:
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        status = await run_mapped(command, stdout=said, stderr=said, environment=environment, folder=folder)
        told = os.pread(said, _TOLD, 0).decode(errors="replace").strip()
    finally:
        os.close(said)
    if status:
        raise CellError(f"{command[0]} failed on the image in {folder}: {told}", hint="make room")

"""Keeps what VMs of one image boot from: kernel, initrd and a disk, made once and then read by everybody."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.cell import CellError
from hermit_workers.vm.guest import disks
from hermit_workers.vm.guest.initrd import Boot, make_boot

KERNEL, INITRD, IMAGE = "kernel", "initrd", "image"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Bootable:
    """Is one image, made bootable: a folder with `kernel`, `initrd` and `image` (ext4), which nobody writes to."""

    folder: Path


async def make_bootable(image: Path, digest: str, size: int, epoch: int, cache: Path) -> Bootable:
    """Give what boots an image (a folder with the tree `root`), made the first time; raise ImageError, CellError.

    `digest` names the image, `size` is about its bytes and `epoch` the time that the disk gives for itself. Another
    version of Hermit's own first programs makes another folder in `cache`.
    """
    boot = await asyncio.to_thread(make_boot, image / "root")
    name = hashlib.sha256(b"\0".join([digest.encode(), boot.kernel, boot.initrd])).hexdigest()[:32]
    folder = cache / name
    try:
        await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True)
        held = os.open(cache / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Two builds that need the same one: the second waits for the first.
            await asyncio.to_thread(fcntl.flock, held, fcntl.LOCK_EX)
            if not await asyncio.to_thread(folder.is_dir):
                await _make(image, boot, size, epoch, folder)
        finally:
            os.close(held)
    except OSError as error:
        raise CellError(f"{folder} cannot be made: {error.strerror}", hint="make room") from error
    return Bootable(folder)


async def _make(image: Path, boot: Boot, size: int, epoch: int, folder: Path) -> None:
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        await asyncio.to_thread(_thd_write, fresh, boot)
        await disks.make_image_disk(image, size, epoch, fresh / IMAGE)
        os.rename(fresh, folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)


def _thd_write(folder: Path, boot: Boot) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)  # QEMU is somebody else where Hermit is root
    for name, content in ((KERNEL, boot.kernel), (INITRD, boot.initrd)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o444)

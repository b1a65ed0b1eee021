"""Keeps what VMs of one image boot from: kernel, initrd and a disk, made once and then read by everybody."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.cell import CellError
from hermit_workers.image.folders import thd_write_out
from hermit_workers.image.guest import verify_guest
from hermit_workers.image.library import Image
from hermit_workers.image.moving import verify_image
from hermit_workers.vm import bootfolder
from hermit_workers.vm.bootfolder import IMAGE, INITRD, KERNEL
from hermit_workers.vm.guest import disks
from hermit_workers.vm.guest.initrd import Boot, make_boot, own_parts

__all__ = ["IMAGE", "INITRD", "KERNEL", "Bootable", "Guest", "boot_image", "make_bootable", "vm_cache"]

# Gets one line for people where something is to be made.
Say = Callable[[str], object]

_POLL = 0.2


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Bootable:
    """Is one image, made bootable: a folder with `kernel`, `initrd` and `image` (ext4), which nobody writes to.

    As long as somebody has the object that `make_bootable` gave, no other process removes the folder.
    """

    folder: Path


@dataclass(frozen=True, slots=True)
class Guest:
    """Is what boots images: a folder whose tree `root` has a kernel and a busybox, and the digest that names it."""

    folder: Path
    digest: str


async def _nothing() -> None:
    pass


def vm_cache(environ: Mapping[str, str]) -> Path:
    """Name the user's folder for what VMs need and can be made again: `$XDG_CACHE_HOME/hermit/vm`."""
    base = environ.get("XDG_CACHE_HOME", "")
    home = Path(environ.get("HOME") or Path.home()) / ".cache"
    return (Path(base) if Path(base).is_absolute() else home) / "hermit" / "vm"


def boot_folders(environ: Mapping[str, str]) -> Path:
    """Name the folder of all that VMs boot from."""
    return vm_cache(environ) / "boot"


async def boot_image(image: Image, guest: Image, cache: Path, say: Say) -> Bootable:
    """Give what boots an image of the library with the kernel of the guest image, as `make_bootable` does.

    Before anything is made of them, both trees are read whole: raise DamagedImageError where one has changed.
    """

    async def _check() -> None:
        await verify_image(image)
        await verify_guest(guest)

    boots = Guest(guest.folder, guest.digest)
    return await make_bootable(
        image.folder, image.digest, image.size, image.made, cache, guest=boots, check=_check, say=say
    )


async def make_bootable(  # noqa: PLR0913  a tree, what boots it, and whom to tell
    image: Path,
    digest: str,
    size: int,
    epoch: int,
    cache: Path,
    *,
    guest: Guest | None = None,
    check: Callable[[], Awaitable[None]] = _nothing,
    say: Say = lambda _line: None,
) -> Bootable:
    """Give what boots an image (a folder with the tree `root`), made the first time; raise ImageError, CellError.

    `digest` names the image, `size` is about its bytes and `epoch` the time that the disk gives for itself. `guest`
    boots it: a tree that has a kernel boots itself. Another guest, or another version of Hermit's own first programs,
    makes another folder in `cache`; so does damage. `check` comes before each making.
    """
    boots = guest or Guest(image, digest)
    name = hashlib.sha256(b"\0".join([digest.encode(), boots.digest.encode(), own_parts()])).hexdigest()[:32]
    folder = cache / name
    try:
        held = await asyncio.to_thread(_thd_whole, folder)
        if held is None:
            await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True)
            async with _turn(cache):  # of two builds that need the same one, the second waits for the first
                held = await asyncio.to_thread(_thd_whole, folder)
                if held is None:
                    await asyncio.to_thread(_thd_make_way, folder, say)
                    say(f"making the disk that VMs of {digest.removeprefix('sha256:')[:12]} boot from: once")
                    await check()
                    boot = await asyncio.to_thread(make_boot, boots.folder / "root")
                    with _whole(folder) as fresh:
                        await asyncio.to_thread(_thd_write, fresh, boot)
                        await disks.make_image_disk(image, size, epoch, fresh / IMAGE)
                        await asyncio.to_thread(bootfolder.thd_record, fresh, digest, boots.digest)
                        await asyncio.to_thread(thd_write_out, fresh)
                    held = await asyncio.to_thread(bootfolder.thd_hold, folder)
        if held is None:
            raise CellError(f"{folder} was removed again", hint="try again")
    except OSError as error:
        raise CellError(f"{folder} cannot be made: {error.strerror}", hint="make room") from error
    made = Bootable(folder)
    weakref.finalize(made, os.close, held)
    return made


@asynccontextmanager
async def _turn(cache: Path) -> AsyncIterator[None]:
    while True:
        with bootfolder.turn(cache) as alone:
            if alone:
                yield
                return
        await asyncio.sleep(_POLL)


def _thd_whole(folder: Path) -> int | None:
    """Hold a folder that is as it was made; None for any other."""
    held = bootfolder.thd_hold(folder)
    if held is not None and bootfolder.damage(folder) is not None:
        os.close(held)
        return None
    return held


def _thd_make_way(folder: Path, say: Say) -> None:
    """Remove what is damaged, and say so: a disk that loses bytes is worth a look."""
    if not folder.is_dir():
        return
    wrong = bootfolder.damage(folder) or f"{folder} is being removed"
    if not bootfolder.thd_remove(folder):
        raise CellError(f"{wrong}, and a VM uses it", hint="try again when that has ended")
    say(f"{wrong}: it is made anew")


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give the name of a folder to make, which gets its own when all is in it, and goes where that fails."""
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        yield fresh
        os.rename(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _thd_write(folder: Path, boot: Boot) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)  # QEMU is somebody else where Hermit is root
    for name, content in ((KERNEL, boot.kernel), (INITRD, boot.initrd)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o444)

"""Is `hermit image verify` and `gc`: reads images, and what VMs boot from, again, and removes what nobody uses."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

from hermit_cli.image_find import find_image, pinned_digest
from hermit_cli.image_run import run_in_order
from hermit_cli.output import bytes_as_text, print_json
from hermit_cli.table import counted, tell
from hermit_proxy.errors import ExitCode
from hermit_workers.image.guest import pinned_guest, verify_guest
from hermit_workers.image.library import Image, Library
from hermit_workers.image.moving import DamagedImageError, verify_image
from hermit_workers.vm import bootfolder
from hermit_workers.vm.boot import boot_folders

_DAY = 86400


def verify(args: argparse.Namespace) -> int:
    """Read images again, all of them or one, and with all of them what VMs boot from; give the exit code."""
    library = Library.of(os.environ)
    guest = pinned_guest(library)
    images = [find_image(library, args.digest)] if args.digest else library.images()
    damaged: dict[str, DamagedImageError] = {}
    for image in images:
        try:
            with library.use(image):
                run_in_order(verify_guest(image) if image.digest == guest else verify_image(image))
        except DamagedImageError as error:
            damaged[image.digest] = error
        if not args.json:
            tell(f"{image.digest}  {'CHANGED' if image.digest in damaged else 'right'}  {image.name}")
    broken = [] if args.digest else library.broken()
    boot = {} if args.digest else dict(_damaged_boot(quiet=args.json))
    if args.json:
        told = {digest: str(error) for digest, error in damaged.items()}
        right = [image.digest for image in images if image.digest not in damaged]
        shown = {"right": right, "changed": told, "broken": [str(path) for path in broken]}
        print_json({**shown, "boot": {str(folder): wrong for folder, wrong in boot.items()}})
    else:
        for found in damaged.values():
            tell(f"{found}\n  next: {found.hint}")
        for path in broken:
            tell(f"unreadable: {path}    (hermit image gc removes it)")
        for folder, wrong in boot.items():
            tell(f"{wrong}\n  next: rm -r {folder}    (the next --cell vm makes it anew)")
    return int(ExitCode.MACHINE if damaged or broken or boot else ExitCode.DONE)


def _damaged_boot(*, quiet: bool) -> Iterator[tuple[Path, str]]:
    for folder in bootfolder.folders(boot_folders(os.environ)):
        held = bootfolder.thd_hold(folder, use=False)
        if held is None:  # it is being removed
            continue
        try:
            wrong = bootfolder.damage(folder, thorough=True)
        finally:
            os.close(held)
        if not quiet:
            tell(f"{folder}  {'right' if wrong is None else 'CHANGED'}  VMs boot from it")
        if wrong is not None:
            yield folder, wrong


def collect(args: argparse.Namespace) -> int:
    """Remove what was not used for a while, but for what is pinned or in use; give the exit code."""
    library = Library.of(os.environ)
    pinned = {pinned_digest(), pinned_guest(library)}
    oldest = time.time() - args.keep * _DAY
    wanted = {image.folder: image for image in library.images() if image.digest not in pinned}
    unused = [folder for folder, image in wanted.items() if _unused_since(library, image, oldest)]
    going = [*unused, *library.broken()]
    removed = going if args.dry_run else run_in_order(_remove(library, going))
    staying = {image.digest for image in library.images() if image.folder not in removed}
    boot, boot_bytes = _collect_boot(staying, oldest, dry_run=args.dry_run)
    freed = sum(wanted[folder].size for folder in removed if folder in wanted)
    names = [f"sha256:{folder.name}" for folder in removed]
    in_use = [f"sha256:{folder.name}" for folder in going if folder not in removed]
    if args.json:
        shown = {"removed": names, "in_use": in_use, "bytes": freed, "dry_run": args.dry_run}
        print_json({**shown, "boot": {"removed": [str(folder) for folder in boot], "bytes": boot_bytes}})
        return int(ExitCode.DONE)
    for folder, name in zip(removed, names, strict=True):
        tell(f"{name}  {wanted[folder].name if folder in wanted else 'unreadable'}")
    for folder in boot:
        tell(f"{folder}  what VMs booted from")
    verb = "would be removed" if args.dry_run else "removed"
    tell(f"{counted(len(removed), 'image')} {verb} ({bytes_as_text(freed)})")
    if boot:
        tell(f"{counted(len(boot), 'folder')} that VMs booted from {verb} ({bytes_as_text(boot_bytes)})")
    for name in in_use:
        tell(f"in use, so it stays: {name}")
    return int(ExitCode.DONE)


def _unused_since(library: Library, image: Image, oldest: float) -> bool:
    try:
        return library.last_used(image) <= oldest
    except FileNotFoundError:  # another gc was faster
        return False


async def _remove(library: Library, folders: list[Path]) -> list[Path]:
    await library.sweep()
    return [folder for folder in folders if await library.remove(folder)]


def _collect_boot(staying: set[str], oldest: float, *, dry_run: bool) -> tuple[list[Path], int]:
    """Remove what VMs booted from long ago, or from an image that is gone; give the folders and their bytes."""
    cache = boot_folders(os.environ)
    if not cache.is_dir():
        return [], 0
    if not dry_run:
        with bootfolder.turn(cache):  # removes what killed builds left, unless one makes something now
            pass
    removed, freed = [], 0
    for folder in bootfolder.folders(cache):
        try:
            old = folder.stat().st_mtime <= oldest
            record = bootfolder.read_record(folder)
            if not old and record is not None and {record.image, record.guest} <= staying:
                continue
            size = bootfolder.size(folder)
        except FileNotFoundError:  # another gc was faster
            continue
        if dry_run or bootfolder.thd_remove(folder):
            removed.append(folder)
            freed += size
    return removed, freed

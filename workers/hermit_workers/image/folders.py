"""Locks, names and writes out the folders of the library, so that all processes of the user can share it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hermit_workers.image.errors import ImageError
from hermit_workers.locks import alone

NEW, GONE = ".new-", ".gone-"


@contextmanager
def locked(folder: Path, how: int) -> Iterator[bool]:
    """Lock a folder; tell whether it could be, and whether it is still that of this name."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield False
        return
    try:
        yield _is_same(folder, descriptor)
    finally:
        os.close(descriptor)


def _is_same(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def fresh(library: Path) -> tuple[Path, int]:
    """Make a new folder of another name than an image's; give it and the descriptor that holds its lock."""
    folder = library / f"{NEW}{secrets.token_hex(8)}"
    with alone(library):
        folder.mkdir(mode=0o700)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def thd_write_out(folder: Path) -> None:
    """Have all of a folder's file system on the disk (syncfs(2)): the name of an image promises every byte of it.

    Raise ImageError where the disk does not take it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            reason = os.strerror(ctypes.get_errno())
            hint = "make room, or see what the kernel says of the disk: dmesg"
            raise ImageError(f"the disk of {folder} does not take the image: {reason}", hint=hint)
    finally:
        os.close(descriptor)


def name_folder(folder: Path, place: Path) -> None:
    """Give a folder its name, which a power loss does not take back; a folder that is not empty is not replaced."""
    try:
        folder.rename(place)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    descriptor = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

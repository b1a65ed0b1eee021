"""Exchanges a folder for another at one instant, for one writer at a time, and clears up after writers that died."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hermit_proxy.errors import HermitError, InputError, Mistake

# Both names are of the folder that is replaced, so that leftovers are found; neither is a host.
_NEW, _OLD = ".new~", ".old~"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_LOCK_TRIES = 300
_LOCK_PAUSE = 0.1  # seconds


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other writers out while the block runs; the lock is on the folder itself, so that no file is left.

    Wait for 30 s at most, then raise HermitError; raise InputError where it is a link (a project could bring one
    along). The kernel drops the lock of a process that dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise InputError([Mistake(folder, None, "expected a folder, and no link to one")]) from error
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE)
        else:
            raise HermitError(f"another process is writing {folder}", hint="wait for it, or end it")
        yield
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what a writer of this folder left when it died; put the old one back where there is no other."""
    old = _beside(folder, _OLD)
    if not os.path.lexists(folder) and old.is_dir():
        old.rename(folder)
    for leftover in (old, _beside(folder, _NEW)):
        if leftover.is_symlink() or leftover.is_file():
            leftover.unlink()
        elif leftover.is_dir():
            shutil.rmtree(leftover)


def replace(folder: Path, files: Mapping[str, bytes], kept: frozenset[str] | set[str]) -> None:
    """Make the folder hold exactly these files; those named in `kept` are linked, not written."""
    new = _beside(folder, _NEW)
    try:
        new.mkdir()
        for name, text in files.items():
            if not (name in kept and _linked(folder / name, new / name)):
                _write(new / name, text)
        _sync(new)
        _exchange(new, folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _sync(folder.parent)
    sweep(folder)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}{ending}")


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        return False  # a file system without hard links: the same bytes are written
    return True


def _write(path: Path, text: bytes) -> None:
    with path.open("xb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(new: Path, folder: Path) -> None:
    if not os.path.lexists(folder):
        new.rename(folder)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    status = libc.renameat2(
        _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(folder), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    if status == 0:
        return
    number = ctypes.get_errno()
    if number not in _NO_EXCHANGE:
        raise OSError(number, os.strerror(number), str(folder))
    # A file system that cannot exchange: for an instant there is no folder, which sweep mends after a crash.
    folder.rename(_beside(folder, _OLD))
    new.rename(folder)

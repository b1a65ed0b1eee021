"""Keeps account of the folders that VMs boot from: what was made, whether it still is as it was, and who uses it."""

# Kernel and initrd are read whole at each use, in some ms. The image's disk is judged by its size and its time, which
# change with whoever writes to it; only `hermit image verify` reads its hundreds of MiB again.

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from hermit_workers.image.folders import locked

KERNEL, INITRD, IMAGE = "kernel", "initrd", "image"
RECORD = "boot.json"
_READ = (KERNEL, INITRD)
_LOCK = ".lock"
_NAME = re.compile(r"[0-9a-f]{32}")
_LEFT = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Is one file as it was made: its bytes, the time of its last change (nanoseconds) and its digest (hex)."""

    size: int
    time: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file; raise OSError."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            return cls(status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True, slots=True)
class BootRecord:
    """Is what a folder was made from, by digest, and its files by name as they were made."""

    image: str
    guest: str
    files: Mapping[str, FileRecord]


def thd_record(folder: Path, image: str, guest: str) -> None:
    """Write down what has been made in a folder; raise OSError."""
    record = BootRecord(image, guest, {name: FileRecord.of(folder / name) for name in (*_READ, IMAGE)})
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n")


def read_record(folder: Path) -> BootRecord | None:
    """Read what was written down; None where nothing was, or something else."""
    try:
        fields = json.loads((folder / RECORD).read_bytes())
        files = {name: FileRecord(**fields["files"][name]) for name in (*_READ, IMAGE)}
        return BootRecord(str(fields["image"]), str(fields["guest"]), files)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def damage(folder: Path, *, thorough: bool = False) -> str | None:
    """Say what in a folder is not as it was made, None where nothing is; `thorough` reads the image's disk, too."""
    record = read_record(folder)
    if record is None:
        return f"{folder / RECORD} does not say what was made"
    return next(_damaged(folder, record, thorough=thorough), None)


def _damaged(folder: Path, record: BootRecord, *, thorough: bool) -> Iterator[str]:
    for name, was in record.files.items():
        path = folder / name
        try:
            status = path.lstat()
            if status.st_size != was.size:
                yield f"{path} has {status.st_size} bytes, and was made with {was.size}"
            elif name in _READ or thorough:
                if FileRecord.of(path).sha256 != was.sha256:
                    yield f"{path} has other bytes than it was made with"
            elif status.st_mtime_ns != was.time:
                yield f"{path} was changed after it was made"
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}"


def folders(cache: Path) -> list[Path]:
    """Name the folders that VMs boot from."""
    return sorted(folder for folder in cache.glob("*") if _NAME.fullmatch(folder.name))


def size(folder: Path) -> int:
    """Tell how many bytes a folder takes on the disk; raise OSError."""
    return sum(path.lstat().st_blocks * 512 for path in folder.iterdir())


def thd_hold(folder: Path, *, use: bool = True) -> int | None:
    """Keep a folder from being removed; give the descriptor, None where it is not there or just goes.

    With `use` it counts as used now.
    """
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if use:
            os.utime(held)
        if os.path.samestat(os.fstat(held), os.stat(folder)):
            return held
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(held)
    return None


def thd_remove(folder: Path) -> bool:
    """Remove a folder; tell whether it is gone: one that somebody uses stays."""
    with locked(folder, fcntl.LOCK_EX) as held:
        if not held:
            return not folder.exists()
        gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    return True


@contextmanager
def turn(cache: Path) -> Iterator[bool]:
    """Be the only one who makes such folders, and remove what killed makers left; tell whether nobody else is.

    Raise OSError where the lock cannot be made.
    """
    held = os.open(cache / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        yield False
        return
    try:
        for left in cache.glob(".*.*"):
            if _LEFT.fullmatch(left.name):
                shutil.rmtree(left, ignore_errors=True)
        yield True
    finally:
        os.close(held)

"""Writes Hermit's own files for a cell as one tar, so that a sandbox and a VM get the same bytes in the same way."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from hermit_workers.cell import CellError, Command, Ended, LimitError

# What unpacks a tar in a cell, by the cell's own program.
UNPACK = Command(
    (
        *("tar", "--extract", "--file", "-", "--directory", "/"),
        *("--numeric-owner", "--same-owner", "--same-permissions"),
        *("--keep-directory-symlink", "--delay-directory-restore", "--warning=no-timestamp"),
    ),
    {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    PurePosixPath("/"),
    "root",
)


@dataclass(frozen=True, slots=True)
class CellFile:
    """Is a plain file at an absolute path of a cell."""

    path: PurePosixPath
    content: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class CellFolder:
    """Is a folder of a cell; one that is there already takes these owners and this mode."""

    path: PurePosixPath
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class CellLink:
    """Is a symbolic link of a cell; what is there already is replaced, not followed."""

    path: PurePosixPath
    target: str


Entry = CellFile | CellFolder | CellLink


def check_unpacked(ended: Ended, words: str) -> None:
    """Raise LimitError or CellError where UNPACK ended otherwise than well; `words` are what it said."""
    if ended.exceeded is not None:
        raise LimitError(ended.exceeded)
    if ended.status:
        why = words.strip() or f"tar ended with {ended.status}"
        raise CellError(f"files cannot be put into the cell: {why}")


def as_tar(entries: Iterable[Entry], epoch: int) -> BinaryIO:
    """Give an unnamed file at its beginning, with the entries in a tar (POSIX.1-2001) that `Cell.put` unpacks.

    Every time in it is `epoch`. Folders above an entry are left to the image, or to whoever unpacks.
    """
    file = open(os.memfd_create("hermit-files", os.MFD_CLOEXEC), "w+b")  # noqa: SIM115  the caller closes it
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info, content = _member(entry)
            info.mtime = max(epoch, 0)
            archive.addfile(info, content)
    file.seek(0)
    return file


def _member(entry: Entry) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    info = tarfile.TarInfo(str(entry.path.relative_to("/")))
    if isinstance(entry, CellLink):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
        return info, None
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    if isinstance(entry, CellFolder):
        info.type = tarfile.DIRTYPE
        return info, None
    info.size = len(entry.content)
    return info, io.BytesIO(entry.content)

"""Writes a source as a tar that depends on nothing but its files: names in order, one time, one owner, two modes."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from hermit_proxy.errors import HermitError
from hermit_workers.source.gitfolder import write_git_folder
from hermit_workers.source.worktree import Source, check_kind

_OWNER = 1000
_FILE, _PROGRAM = 0o644, 0o755
_LOST = (FileNotFoundError, NotADirectoryError)


def write_archive(stream: IO[bytes], source: Source, place: PurePosixPath, scratch: Path) -> str:
    """Write the source below `place` (absolute, in the cell), and give the digest of its files (`sha256:<hex>`).

    `scratch` is a folder to be made for the `.git`, which the digest leaves out: packs differ by who packs them.

    What has gone since the source was looked at is left out, as it would be had it gone before. Raise HermitError for
    a file that cannot be read or changes meanwhile.
    """
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 18) as archive:
        writer = _Writer(archive, source.top, place, source.epoch)
        sizes = {path: size for path in source.paths if (size := writer.add(path)) is not None}
        # A project that is empty has a folder all the same.
        writer.folders(PurePosixPath(source.below, "x"))
        digest = writer.digest
        if source.repository is not None and source.head is not None:
            for path in source.changed:
                sizes.pop(path, None)
            write_git_folder(scratch, source.repository, source.head, source.index, sizes)
            _Writer(archive, scratch, place / ".git", source.epoch).add_tree()
    return digest


class _Writer:
    def __init__(self, archive: tarfile.TarFile, top: Path, place: PurePosixPath, epoch: int) -> None:
        self._archive = archive
        self._top = top
        self._place = str(place).lstrip("/")
        self._epoch = epoch
        self._made: set[str] = set()
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Give the digest of what was added: names, kinds, modes and contents."""
        return f"sha256:{self._hash.hexdigest()}"

    def add(self, path: str) -> int | None:
        """Add one path; give its size in bytes, None where it is not there any more."""
        folder, name = os.path.split(path)
        try:
            with _inside(self._top, folder) as within:
                if within is None:
                    return None
                status = os.lstat(name, dir_fd=within)
                check_kind(self._top / path, status)
                if stat.S_ISLNK(status.st_mode):
                    return self._add_link(path, os.readlink(name, dir_fd=within))
                if stat.S_ISDIR(status.st_mode):
                    self.folders(PurePosixPath(path, "x"))
                    return None
                return self._add_file(path, os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within))
        except _LOST:
            return None
        except BrokenPipeError:  # the archive's reader is gone, and says why
            raise
        except OSError as error:
            why = error.strerror or "it changes while it is read"
            raise HermitError(f"cannot read {self._top / path}: {why}") from error

    def add_tree(self) -> None:
        """Add all that is below the top; no folder of ours is a link."""
        for parent, folders, files in os.walk(self._top):
            folders.sort()
            below = os.path.relpath(parent, self._top)
            self.folders(PurePosixPath(below, "x"))
            for name in sorted(files):
                self.add(os.path.normpath(os.path.join(below, name)))

    def folders(self, path: PurePosixPath) -> None:
        """Add the folders above a path that are not there yet, each before what is in it."""
        for folder in reversed(path.parents):
            name = os.path.normpath(os.path.join(self._place, folder))
            if name not in self._made:
                self._made.add(name)
                about = self._about(name, tarfile.DIRTYPE, _PROGRAM)
                self._count(about, str(folder))
                self._archive.addfile(about)

    def _add_link(self, path: str, target: str) -> int:
        about = self._about(self._named(path), tarfile.SYMTYPE, 0o777)
        about.linkname = target
        self._count(about, path)
        self._archive.addfile(about)
        return len(os.fsencode(target))

    def _add_file(self, path: str, descriptor: int) -> int:
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            about = self._about(self._named(path), tarfile.REGTYPE, _PROGRAM if status.st_mode & 0o100 else _FILE)
            # As git has it: the time is a second past the files', so that a look at times is enough for it.
            about.mtime += path == "index" and self._place.endswith("/.git")
            about.size = status.st_size
            self._count(about, path)
            self._archive.addfile(about, _Hashing(file, self._hash.update))
            if file.read(1):
                raise OSError("it grows while it is read")
        return about.size

    def _count(self, about: tarfile.TarInfo, path: str) -> None:
        fields = (about.type.decode(), f"{about.mode:o}", str(about.size), path, about.linkname)
        self._hash.update("\0".join(fields).encode("utf-8", "surrogateescape") + b"\0")

    def _named(self, path: str) -> str:
        self.folders(PurePosixPath(path))
        return os.path.join(self._place, path)

    def _about(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        about = tarfile.TarInfo(name)
        about.type, about.mode, about.mtime = kind, mode, self._epoch
        about.uid = about.gid = _OWNER
        return about


class _Hashing(io.RawIOBase):
    """Reads a file and passes on what was read."""

    def __init__(self, file: IO[bytes], update: Callable[[bytes], None]) -> None:
        self._file = file
        self._update = update

    def read(self, size: int = -1) -> bytes:
        octets = self._file.read(size)
        self._update(octets)
        return octets


@contextmanager
def _inside(top: Path, folder: str) -> Iterator[int | None]:
    """Open a folder below the top without following a link: what is out of the project is none of its files.

    None where it, or one above it, is no folder.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(top, flags & ~os.O_NOFOLLOW)
    try:
        for name in PurePosixPath(folder).parts:
            try:
                inner = os.open(name, flags, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in {errno.ENOTDIR, errno.ELOOP}:  # both are said of links
                    raise
                yield None
                return
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)

"""Temporary files that say whether their writer is still alive, so that a sweep removes only what a crash left."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock, between threads as well as processes; it ends with the process, however that ends."""
    # A descriptor of its own for each holder: flock(2) belongs to the open file, and threads would share one.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Unfinished:
    """Is a file that nobody reads yet: its writer holds a lock on it until it is published or dropped."""

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        """Make the file in a folder of the same file system as its later place."""
        while True:
            path = folder / secrets.token_hex(16)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:
                    break
            except BlockingIOError:
                pass  # A sweep found the file between its making and its locking, and is removing it.
            except BaseException:
                os.close(fd)
                path.unlink(missing_ok=True)
                raise
            os.close(fd)
        self.path = path
        self._fd = fd
        self._mode = mode

    def write(self, data: bytes | memoryview) -> None:
        """Append all of the data."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def publish(self, place: Path, *, mode: int) -> None:
        """Move the file to its place in one step, replacing what is there."""
        if mode != self._mode:
            os.fchmod(self._fd, mode)
        os.rename(self.path, place)
        self._close()

    def drop(self) -> None:
        """Remove the file; after `publish`, or a second time, it does nothing."""
        if self._fd >= 0:
            try:
                with suppress(FileNotFoundError):
                    os.unlink(self.path)
            finally:
                self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def sweep_unfinished(folder: Path, *, dry_run: bool) -> int:
    """Remove the files of a folder whose writers are gone, and count them."""
    count = 0
    for path in list(folder.iterdir()):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # Published or dropped since the listing, or nothing of ours.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The lock of a file that was published meanwhile is free as well: its name here is gone then.
            if _is(path, fd):
                count += 1
                if not dry_run:
                    path.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # Its writer is alive.
        finally:
            os.close(fd)
    return count


def _is(path: Path, fd: int) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))

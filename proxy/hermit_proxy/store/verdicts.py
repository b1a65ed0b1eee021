"""Remembers which files were hashed and found good, so that a body that is served often is not hashed each time."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections import OrderedDict
from contextlib import suppress

_Identity = tuple[int, int, int, int, int]
# File times move with the kernel's tick (at most 10 ms): a file that changed so recently could change again unseen.
_SETTLED_NS = 100_000_000
_KNOWN = 65536
_PIECE = 1 << 18


def digest_of(fd: int) -> str:
    """Hash a file from its start, without moving the descriptor's position; other threads run meanwhile."""
    digest = hashlib.sha256()
    offset = 0
    while piece := os.pread(fd, _PIECE, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()


class Verdicts:
    """Maps a file's identity (device, inode, size, mtime, ctime) to the digest that was computed from it.

    In memory, for this process only: a verdict on disk could be forged as easily as a body. Writing to a file
    changes its ctime, which no one can set back, so that a changed file is hashed again. What this cannot see
    is a disk that loses a bit after the file was hashed; the next process will.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: OrderedDict[_Identity, str] = OrderedDict()

    def recall(self, fd: int) -> str | None:
        """Give the digest of an open file if it is remembered."""
        return self._known.get(_identity(os.fstat(fd)))

    def digest(self, fd: int, *, again: bool = False) -> str:
        """Give the digest of an open file, remembered or computed; `again` computes it in any case."""
        before = _identity(os.fstat(fd))
        known = None if again else self._known.get(before)
        if known is not None:
            return known
        started = time.time_ns()
        digest = digest_of(fd)
        settled = abs(started - before[4]) > _SETTLED_NS
        if settled and _identity(os.fstat(fd)) == before:
            self._known[before] = digest
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return digest

    def prepare(self, place: str, flags: int, size: int) -> None:
        """Compute the digest of a file that is opened with `flags`, right or wrong; pass over what has another size."""
        with suppress(OSError):
            fd = os.open(place, flags)
            try:
                found = os.fstat(fd)
                if stat.S_ISREG(found.st_mode) and found.st_size == size:
                    self.digest(fd)
            finally:
                os.close(fd)


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

"""Reads files that the kernel has in memory, so that an event loop can have them without a thread."""

from __future__ import annotations

import os


def read_cached(place: str, size: int, flags: int) -> bytes | None:
    """Read a file of exactly `size` bytes, opened with `flags`; None where it is another, or a disk has to be asked."""
    data = bytearray(size + 1)  # One more than there may be: a longer file is another.
    try:
        fd = os.open(place, flags)
        try:
            count = os.preadv(fd, [data], 0, os.RWF_NOWAIT)  # Not every file system can tell (EOPNOTSUPP).
        finally:
            os.close(fd)
    except OSError:
        return None
    del data[size:]
    return bytes(data) if count == size else None

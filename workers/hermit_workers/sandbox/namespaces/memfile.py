"""Hands the holder what is too long for a message, or nobody else's to read: as a file that only memory has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def memory(data: bytes) -> Iterator[int]:
    """Give such a file as a descriptor that stands at its beginning; it is closed afterwards."""
    descriptor = os.memfd_create("hermit")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)

"""Reads files of an image's tree from outside: its links mean paths of the tree, and none may lead out of it."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from pathlib import Path, PurePath

# openat2(2): its number is the same on every machine. The way stays below the folder, as after chroot(2).
_OPENAT2, _RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 437, 0x10, 0x02
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LIMIT = 16 << 20
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


def read_inside(root: Path, path: PurePath) -> bytes | None:
    """Give the bytes of a file of the tree, at most 16 MiB; None where no plain file is there.

    Raises OSError where it may not be read.
    """
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = _open(folder, path)
    finally:
        os.close(folder)
    if descriptor is None:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_LIMIT)
    finally:
        os.close(descriptor)


def _open(folder: int, path: PurePath) -> int | None:
    libc = ctypes.CDLL(None, use_errno=True)
    how = struct.pack("=QQQ", _FLAGS, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    name = ctypes.c_char_p(os.fsencode(path))
    descriptor: int = libc.syscall(_OPENAT2, folder, name, ctypes.c_char_p(how), ctypes.c_size_t(len(how)))
    if descriptor >= 0:
        return descriptor
    number = ctypes.get_errno()
    if number in _ABSENT:
        return None
    raise OSError(number, os.strerror(number), str(path))

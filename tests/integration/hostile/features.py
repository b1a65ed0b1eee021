"""Asks this kernel for what an attack needs: where it has no such thing, no control shows that a cell prevents it."""

from __future__ import annotations

import ctypes
import os

from tests.integration.hostile.inside.attempt import LIBC, call

_AT_FDCWD, _FOLLOW = -100, 0x400
_ROOM = 128  # bytes of a handle, more than any has


def secret_memory() -> bool:
    """Tell whether memfd_secret(2) is there; before Linux 6.5 it was off unless the machine was started with it."""
    try:
        os.close(call("memfd_secret", 0))
    except OSError:
        return False
    return True


def namespace_handles() -> bool:
    """Tell whether namespaces have file handles (Linux 6.18), by asking for the one of this process's own."""
    handle = ctypes.create_string_buffer(_ROOM.to_bytes(4, "little") + bytes(4 + _ROOM))
    mount = ctypes.c_int()
    given = LIBC.name_to_handle_at(_AT_FDCWD, b"/proc/self/ns/net", handle, ctypes.byref(mount), _FOLLOW)
    return bool(given == 0)

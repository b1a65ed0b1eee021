"""Takes from this process what it has no use for: core files, debuggers, and the means to open a connection."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

_PR_SET_DUMPABLE = 4
# Descriptors: one for each connection, one for each body that is being sent.
_FILES = 8192
_REDIS_PORT = 6379


def harden() -> None:
    """Leave no way to the memory of this process (the run's key is in it) and allow it enough descriptors."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    os.environ.pop("SSLKEYLOGFILE", None)  # It would write the keys of all connections to a file.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def forbid_connections(store_url: str) -> None:
    """Have every connection of this process that Python would open raise, but those to a store on the network.

    There is no code here that opens any; this is what holds if there ever is. It cannot be taken back.
    """
    allowed = _store_addresses(store_url)

    def _hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and not allowed(arguments[1]):
            raise PermissionError("a hermetic run opens no connection")

    sys.addaudithook(_hook)


def _store_addresses(store_url: str) -> Callable[[object], bool]:
    parts = urlsplit(store_url)
    if parts.scheme == "unix":
        return lambda address: address == parts.path
    if parts.scheme not in {"redis", "rediss"}:
        return lambda _address: False
    found = socket.getaddrinfo(parts.hostname or "localhost", parts.port or _REDIS_PORT, type=socket.SOCK_STREAM)
    known = {info[4][:2] for info in found}
    return lambda address: isinstance(address, tuple) and address[:2] in known

"""Writes what a kernel unpacks first: the same files give the same bytes, on every machine."""

# The "newc" format of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst, unpacked: emulation
# takes longer to unpack a few MiB than to load them.

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import PurePosixPath

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Give the archive of plain files by relative path, each a mode and its content; folders come by themselves."""
    entries: dict[str, tuple[int, bytes]] = {}
    for name, (mode, content) in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name or str(path) != name:
            raise ValueError(f"not a path of an archive: {name!r}")
        for parent in path.parents[:-1]:
            entries[str(parent)] = (stat.S_IFDIR | 0o755, b"")
        entries[name] = (stat.S_IFREG | mode, content)
    # Sorted by parts, so that a folder comes before what is in it.
    ordered = sorted(entries.items(), key=lambda item: PurePosixPath(item[0]).parts)
    pieces = [_entry(number, name, *entry) for number, (name, entry) in enumerate(ordered, 1)]
    return b"".join([*pieces, _entry(0, _TRAILER, 0, b"")])


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    # inode, mode, uid, gid, links, time, size, four numbers of devices, length of the name, checksum
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = _padded(_MAGIC + b"".join(b"%08X" % field for field in fields) + encoded)
    return head + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)

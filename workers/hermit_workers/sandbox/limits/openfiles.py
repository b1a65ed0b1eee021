"""Finds the files without a name that a cell's processes keep: they take disk and memory where no walk sees them."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

# More descriptors than a build has use for, and as many as can be looked at in a few seconds: beyond them nobody knows.
MOST = 500_000
_SLICE = 256
_BLOCK = 512  # stat(2)
_SEGMENT = b"/SYSV"


@dataclass(frozen=True, slots=True)
class Nameless:
    """Is what has been found: bytes on the disk, bytes in memory files (memfd_create(2), shared mappings).

    `descriptors` is how many were looked at; past MOST little more is.
    """

    disk: int = 0
    memory: int = 0
    descriptors: int = 0


def nameless(processes: Iterable[int], disks: Collection[int]) -> Iterator[Nameless]:
    """Look at what processes have open or mapped, and give what was found so far, now and then and at the end.

    `disks` are the devices (st_dev) that the cell writes to. What is mapped and no longer open is told to the host's
    root only (proc_pid_map_files(5)); what waits in a socket (SCM_RIGHTS) to nobody.
    """
    memory = _memory_device()
    seen: set[tuple[int, int]] = set()
    on_disk = in_memory = descriptors = 0
    for process in processes:
        for status in _kept(process):
            descriptors += 1
            if not status.st_nlink and stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                on_disk += status.st_blocks * _BLOCK if status.st_dev in disks else 0
                in_memory += status.st_blocks * _BLOCK if status.st_dev == memory else 0
            if descriptors > MOST:
                yield Nameless(on_disk, in_memory, descriptors)
                return
            if descriptors % _SLICE == 0:
                yield Nameless(on_disk, in_memory, descriptors)
        yield Nameless(on_disk, in_memory, descriptors)  # one without descriptors may have many mappings
    yield Nameless(on_disk, in_memory, descriptors)


def _kept(process: int) -> Iterator[os.stat_result]:
    try:
        with os.scandir(f"/proc/{process}/fd") as entries:  # not all at once: there may be many
            for entry in entries:
                with contextlib.suppress(OSError):  # closed meanwhile
                    yield os.stat(entry.path)
    except OSError:  # gone, or another user's
        return
    for name in _mapped(process):
        try:
            yield os.stat(f"/proc/{process}/map_files/{name}")
        except FileNotFoundError:  # no longer mapped
            continue
        except OSError:  # not the host's root
            return


def _mapped(process: int) -> Iterator[str]:
    """Name the mappings of files without a name; System V's segments have a table of their own."""
    try:
        with open(f"/proc/{process}/maps", "rb") as file:
            text = file.read()
    except OSError:
        return
    if b" (deleted)\n" not in text:  # as almost always
        return
    number = _memory_device()
    memory = b"%02x:%02x" % (os.major(number), os.minor(number))
    for line in text.splitlines():
        if line.endswith(b" (deleted)"):
            addresses, _, _, device, *_, path = line.split(maxsplit=5)
            if not (path.startswith(_SEGMENT) and device == memory):
                # There the numbers have no zeros before them.
                yield "-".join(f"{int(number, 16):x}" for number in addresses.split(b"-"))


@functools.cache
def _memory_device() -> int:
    descriptor = os.memfd_create("hermit")
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)

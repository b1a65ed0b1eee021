"""Measures what a cell uses of the machine, from /proc and the file systems that it writes to."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024
_FIELD = re.compile(rb"^(\w+):\s+([0-9]+)", re.MULTILINE)
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Use:
    """Is what processes use: bytes of their own (swapped ones as well), bytes of shared memory, threads."""

    own: int = 0
    shared: int = 0
    threads: int = 0

    def __add__(self, other: Use) -> Use:
        """Add two."""
        return Use(self.own + other.own, self.shared + other.shared, self.threads + other.threads)

    def sum(self, memory_files: int) -> int:
        """Give all the memory; `memory_files`, what its tmpfs hold, is a part of `shared` as far as it is mapped.

        Which part the kernel does not say: the larger of both is what is there for certain.
        """
        return self.own + max(self.shared, memory_files)


def measure(process: int, *, exact: bool) -> Use:
    """Measure one process; nothing where it has gone, or is not ours to look at.

    Not exact: what processes share is counted for each of them (proc_pid_status(5)), which is fast (20 us). Exact: for
    each its share (PSS, proc_pid_smaps(5)), for which the kernel walks its page tables.
    """
    status = _fields(_PROC / str(process) / "status")
    threads = status.get(b"Threads", 0)
    if exact and (rollup := _fields(_PROC / str(process) / "smaps_rollup")):
        own = rollup.get(b"Pss_Anon", 0) + rollup.get(b"SwapPss", 0)
        return Use(own * _KIB, rollup.get(b"Pss_Shmem", 0) * _KIB, threads)
    own = status.get(b"RssAnon", 0) + status.get(b"VmSwap", 0)
    return Use(own * _KIB, status.get(b"RssShmem", 0) * _KIB, threads)


def available() -> int:
    """Give the bytes of memory that the machine can still hand out (proc_meminfo(5))."""
    return _fields(_PROC / "meminfo").get(b"MemAvailable", 0) * _KIB


def in_pid_namespace(inode: int) -> list[int]:
    """Give the processes whose pid namespace it is (`os.stat("/proc/PID/ns/pid").st_ino`), as numbered here."""
    found = []
    for name in os.listdir(_PROC):
        if name.isdecimal():
            try:
                status = os.stat(f"/proc/{name}/ns/pid")
            except OSError:  # gone, or another user's
                continue
            if status.st_ino == inode:
                found.append(int(name))
    return found


def free_space(descriptor: int) -> int:
    """Give the bytes that an ordinary user may still write to the file system of an open folder."""
    status = os.fstatvfs(descriptor)
    return status.f_bavail * status.f_frsize


def used_space(descriptor: int) -> int:
    """Give the bytes that a file system (a tmpfs) holds."""
    status = os.fstatvfs(descriptor)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def used_segments(descriptor: int) -> int:
    """Give the bytes of System V's shared memory, attached or not (proc_sysvipc(5), opened in the cell's namespace)."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        _, *lines = file
    return sum(int(number) for line in lines for number in line.split()[-2:])  # resident and swapped


def _fields(file: Path) -> dict[bytes, int]:
    try:
        return {name: int(number) for name, number in _FIELD.findall(file.read_bytes())}
    except OSError:
        return {}

"""Says what a cell shows of a host besides its own files, and what of the kernel it must not write through."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_OWN_PROC = frozenset({"sysvipc"})


@dataclass(frozen=True, slots=True)
class Bind:
    """Is a file or folder that a cell sees at `target`, in place of what the host has there."""

    source: Path
    target: Path
    writable: bool = False


def guarded_proc(proc: Path = Path("/proc")) -> tuple[Path, ...]:
    """Give the parts of /proc that root could write through: sysctl, sysrq, interrupts, memory ranges.

    bubblewrap covers four of them, but skips /proc/sys where the caller is root without capabilities, and there the
    file modes would let it in: core_pattern is a command that the host's kernel runs.
    """
    with os.scandir(proc) as entries:
        found = [entry for entry in entries if not entry.name.isdigit() and not entry.is_symlink()]
    kernel = (e for e in found if e.name not in _OWN_PROC and (e.is_dir() or e.stat().st_mode & 0o222))
    return tuple(sorted(Path(entry.path) for entry in kernel))

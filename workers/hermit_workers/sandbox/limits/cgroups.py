"""Holds a cell's memory and processes by control groups, where this user may make them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from signal import SIGKILL
from typing import Literal, Self

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import groupfiles
from hermit_workers.sandbox.limits.groupfiles import Hierarchy
from hermit_workers.sandbox.limits.rlimits import size

Held = Literal["memory", "processes"]

# hermit-<pid namespace>-<pid>-<its start time>-<number>: a living Hermit's group is never taken for a leftover, not
# even where two of them count processes differently.
_NAME = re.compile(r"hermit-([0-9]+)-([0-9]+)-([0-9]+)-[0-9]+")
_CONTROLLERS: Mapping[str, Held] = {"memory": "memory", "pids": "processes"}
# How often the kernel had to act: version 2 has *.events, version 1 another file for memory.
_COUNTERS: Mapping[Held, Sequence[tuple[str, str]]] = {
    "memory": (("memory.events", "oom_kill"), ("memory.oom_control", "oom_kill")),
    "processes": (("pids.events", "max"),),
}
_PATIENCE = 1.0
_numbers = itertools.count(1)


class Cgroup:
    """Is one cell's control group: a folder under version 2, one for each controller under version 1.

    States: made -> removed. `holds` says what the kernel keeps here; the watchdog keeps the rest.
    """

    def __init__(self, folders: Mapping[Held, Path], limits: Limits) -> None:
        """Take the folders that hold something, in which the limits stand already."""
        self._folders = dict(folders)
        self._limits = limits
        self._before = {held: _count(held, folder) for held, folder in self._folders.items()}

    @property
    def holds(self) -> AbstractSet[Held]:
        """Say what the kernel holds."""
        return self._folders.keys()

    @classmethod
    def make(cls, limits: Limits, *, proc: Path = Path("/proc")) -> Self | None:
        """Make one below the group that this process is in, or beside it; None where the system lets us make none."""
        name = _own_prefix(proc) + str(next(_numbers))
        folders: dict[Held, Path] = {}
        for hierarchy in groupfiles.hierarchies(proc):
            wanted = [name for name in hierarchy.controllers if name in _CONTROLLERS]
            for parent in hierarchy.parents(frozenset(wanted)):
                folder = parent / name
                if _made(folder, hierarchy, limits, wanted):
                    folders |= {_CONTROLLERS[controller]: folder for controller in wanted}
                    break
        return cls(folders, limits) if folders else None

    def add(self, process: int) -> None:
        """Move a process (a number as seen from here) and so all of its later children; raise OSError."""
        for folder in set(self._folders.values()):
            (folder / "cgroup.procs").write_text(f"{process}\n")

    def processes(self) -> list[int]:
        """Give the numbers of what is in it, threads not counted."""
        return sorted({process for folder in self._folders.values() for process in _processes(folder)})

    def exceeded(self) -> str | None:
        """Give a sentence for people where the kernel has refused or killed something, else None; cheap."""
        for held, folder in self._folders.items():
            if _count(held, folder) > self._before[held]:
                if held == "memory":
                    return f"memory: the build needs more than {size(self._limits.memory)} (limits: memory)"
                return f"processes: the build wants more than {self._limits.processes} (limits: processes)"
        return None

    def remove(self) -> None:
        """Kill what is left and remove it, waiting a second at most; doing it twice is safe.

        What cannot be removed stays for the next sweep.
        """
        for folder in set(self._folders.values()):
            _remove(folder)


def sweep(*, proc: Path = Path("/proc")) -> int:
    """Remove the groups of Hermits of this pid namespace that are no more, and say how many.

    One with processes stays for the next time: a cell's holder is removing its files, and ends by itself. Looks around
    this process's group and those above it, and in the groups beside them: another session's Hermit was in a group
    beside ours.
    """
    found = 0
    for hierarchy in groupfiles.hierarchies(proc):
        around = {parent for above in hierarchy.own_and_above() for parent in (above, *_folders(above))}
        for folder in [folder for parent in around for folder in _leftovers(parent, proc)]:
            with contextlib.suppress(OSError):
                folder.rmdir()
            found += not folder.exists()
    return found


def _made(folder: Path, hierarchy: Hierarchy, limits: Limits, wanted: list[str]) -> bool:
    try:
        folder.mkdir(mode=0o755)
    except OSError:
        return False
    try:
        for file, value, needed in hierarchy.values(limits, wanted):
            # Swap accounting and killing the whole group may be compiled out; the limit itself may not.
            with contextlib.suppress(*(() if needed else (OSError,))):
                (folder / file).write_text(f"{value}\n")
    except OSError:
        _remove(folder)
        return False
    return True


def _leftovers(parent: Path, proc: Path) -> Iterator[Path]:
    namespace = _namespace(proc)
    for folder in _folders(parent):
        found = _NAME.fullmatch(folder.name)
        if found and int(found[1]) == namespace and _is_dead(proc, found[2], found[3]):
            yield folder


def _folders(parent: Path) -> list[Path]:
    try:
        return [folder for folder in parent.iterdir() if folder.is_dir()]
    except OSError:
        return []


def _is_dead(proc: Path, process: str, start: str) -> bool:
    try:
        return _start_time(proc, process) != start
    except OSError:  # too many open files, say: that tells nothing of the process
        return False


def _own_prefix(proc: Path) -> str:
    own = str(os.getpid())
    return f"hermit-{_namespace(proc)}-{own}-{_start_time(proc, own)}-"


def _namespace(proc: Path) -> int:
    return (proc / "self/ns/pid").stat().st_ino


def _start_time(proc: Path, process: str) -> str | None:
    """Give the 22nd field of proc_pid_stat(5), None where there is no such process; raise OSError for anything else."""
    try:
        return (proc / process / "stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _processes(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _count(held: Held, folder: Path) -> int:
    """Give how often the kernel refused or killed."""
    for file, key in _COUNTERS[held]:
        with contextlib.suppress(OSError):
            fields = dict(line.split() for line in (folder / file).read_text().splitlines())
            return int(fields.get(key, 0))
    return 0


def _kill(folder: Path) -> None:
    try:
        # Opened without O_CREAT: in version 1, and before Linux 5.14, there is none.
        descriptor = os.open(folder / "cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        for process in _processes(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, SIGKILL)
        return
    try:
        os.write(descriptor, b"1")
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > until:
                return
            _kill(folder)
            time.sleep(0.01)
        else:
            return

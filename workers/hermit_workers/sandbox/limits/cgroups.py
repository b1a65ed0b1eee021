"""Holds a cell's memory and processes by control groups, where this user may make them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from signal import SIGKILL
from typing import Literal, Self

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import groupfiles
from hermit_workers.sandbox.limits.groupfiles import Hierarchy
from hermit_workers.sandbox.limits.rlimits import size

Held = Literal["memory", "processes"]

# With its Hermit's number for people to see. A Hermit holds a lock (flock(2)) on each of its groups, which ends with
# it: so a living one's group is never taken for a leftover, not even by a Hermit that counts processes, or time, in
# another namespace.
_NAME = re.compile(r"hermit-cell-[0-9]+-[0-9a-f]{16}")
_ATTEMPTS = 3  # somebody else's sweep may have a look at what was just made
_CONTROLLERS: Mapping[str, Held] = {"memory": "memory", "pids": "processes"}
# How often the kernel had to act: version 2 has *.events, version 1 another file for memory.
_COUNTERS: Mapping[Held, Sequence[tuple[str, str]]] = {
    "memory": (("memory.events", "oom_kill"), ("memory.oom_control", "oom_kill")),
    "processes": (("pids.events", "max"),),
}
_PATIENCE = 1.0


class Cgroup:
    """Is one cell's control group: a folder under version 2, one for each controller under version 1.

    States: made -> removed. `holds` says what the kernel keeps here; the watchdog keeps the rest.
    """

    def __init__(self, folders: Mapping[Held, Path], limits: Limits, locks: Mapping[Path, int]) -> None:
        """Take the folders that hold something, in which the limits stand already, and a lock on each."""
        self._folders = dict(folders)
        self._limits = limits
        self._locks = dict(locks)
        self._before = {held: _count(held, folder) for held, folder in self._folders.items()}

    @property
    def holds(self) -> AbstractSet[Held]:
        """Say what the kernel holds."""
        return self._folders.keys()

    @classmethod
    def make(cls, limits: Limits, *, proc: Path = Path("/proc")) -> Self | None:
        """Make one below the group that this process is in, or beside it; None where the system lets us make none."""
        folders: dict[Held, Path] = {}
        locks: dict[Path, int] = {}
        for hierarchy in groupfiles.hierarchies(proc):
            wanted = [name for name in hierarchy.controllers if name in _CONTROLLERS]
            for parent in hierarchy.parents(frozenset(wanted)):
                if (made := _made(parent, hierarchy, limits, wanted)) is not None:
                    folder, locks[made[0]] = made
                    folders |= {_CONTROLLERS[controller]: folder for controller in wanted}
                    break
        return cls(folders, limits, locks) if folders else None

    def add(self, process: int) -> None:
        """Move a process (a number as seen from here) and so all of its later children.

        A group that does not take it (some systems let us make one, but move nobody there) is removed, and no longer
        among those that hold something.
        """
        for folder in set(self._folders.values()):
            try:
                (folder / "cgroup.procs").write_text(f"{process}\n")
            except OSError:
                self._folders = {held: other for held, other in self._folders.items() if other != folder}
                _discard(folder, self._locks.pop(folder))

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
        """Kill what is left and remove it; doing it twice is safe.

        Never waits: for what takes its time to die a thread does, a second at most, which the end of Hermit waits for.
        What cannot be removed stays for the next sweep.
        """
        while self._locks:
            folder, lock = self._locks.popitem()
            _kill(folder)
            if not _discard(folder, lock):
                threading.Thread(target=_thd_remove, args=(folder,)).start()


def sweep(*, proc: Path = Path("/proc")) -> int:
    """Remove the groups of Hermits that are no more, and say how many.

    One with processes stays for the next time: a cell's holder is removing its files, and ends by itself. Looks around
    this process's group and those above it, and in the groups beside them: another session's Hermit was in a group
    beside ours.
    """
    found = 0
    for hierarchy in groupfiles.hierarchies(proc):
        around = {parent for above in hierarchy.own_and_above() for parent in (above, *_folders(above))}
        for folder in [folder for parent in around for folder in _folders(parent) if _NAME.fullmatch(folder.name)]:
            if (lock := _lock(folder)) is not None:
                found += _discard(folder, lock)
    return found


def _made(parent: Path, hierarchy: Hierarchy, limits: Limits, wanted: list[str]) -> tuple[Path, int] | None:
    """Make a group and give it with its lock."""
    for _ in range(_ATTEMPTS):
        folder = parent / f"hermit-cell-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            folder.mkdir(mode=0o755)
        except OSError:
            return None
        if (lock := _lock(folder)) is None:
            continue
        try:
            for file, value, needed in hierarchy.values(limits, wanted):
                # Swap accounting and killing the whole group may be compiled out; the limit itself may not.
                with contextlib.suppress(*(() if needed else (OSError,))):
                    (folder / file).write_text(f"{value}\n")
        except OSError:
            _discard(folder, lock)
            return None
        return folder, lock
    return None


def _lock(folder: Path) -> int | None:
    """Give a lock on a group that is there and that nobody else has locked."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            return descriptor
    except OSError:  # somebody's, or a sweep was faster
        pass
    os.close(descriptor)
    return None


def _discard(folder: Path, lock: int) -> bool:
    """Remove a group in which nobody is, let go of its lock, and tell whether it is no more."""
    with contextlib.suppress(OSError):
        folder.rmdir()
    os.close(lock)
    return not folder.exists()


def _folders(parent: Path) -> list[Path]:
    try:
        return [folder for folder in parent.iterdir() if folder.is_dir()]
    except OSError:
        return []


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
        with contextlib.suppress(OSError):  # being removed by somebody else
            os.write(descriptor, b"1")
    finally:
        os.close(descriptor)


def _thd_remove(folder: Path) -> None:
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

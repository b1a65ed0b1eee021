"""Finds where control groups are on this machine, in both versions, and what is written into them (cgroups(7))."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from hermit_workers.cell import Limits

_OURS = ("memory", "pids")
_OCTAL = re.compile(r"\\([0-7]{3})")
_LEAF = "hermit-main"  # where Hermit goes itself, in a group that is its own
Value = tuple[str, int, bool]  # file, value, and whether the group is worthless without it


class Hierarchy(Protocol):
    """Is one tree of control groups that has a controller for us."""

    @property
    def controllers(self) -> Sequence[str]:
        """Give those of ours that it has."""

    def own_and_above(self) -> Iterator[Path]:
        """Give the group of this process and those around it, where a group of ours may be."""

    def parents(self, wanted: frozenset[str]) -> Iterator[Path]:
        """Give the groups below which one with the wanted controllers may be made, the best one first."""

    def values(self, limits: Limits, wanted: Sequence[str]) -> Iterator[Value]:
        """Give what holds the limits."""


@dataclass(frozen=True, slots=True)
class Version1:
    """Is the tree of one controller; any group may have groups below it."""

    top: Path
    own: Path
    controllers: tuple[str, ...]

    def own_and_above(self) -> Iterator[Path]:
        """Give this process's group and those above it."""
        return _upwards(self.own, self.top)

    def parents(self, wanted: frozenset[str]) -> Iterator[Path]:
        """Give this process's group, so that its own limits hold as well."""
        if wanted:
            yield self.own

    def values(self, limits: Limits, wanted: Sequence[str]) -> Iterator[Value]:
        """Give the limits; memory with swap can be set only after memory without."""
        if "memory" in wanted:
            yield "memory.limit_in_bytes", limits.memory, True
            yield "memory.memsw.limit_in_bytes", limits.memory, False
            yield "memory.swappiness", 0, False
        if "pids" in wanted:
            yield "pids.max", limits.processes, True


@dataclass(frozen=True, slots=True)
class Version2:
    """Is the one tree, in which a group has either processes or controlled groups below it, but at the top."""

    top: Path
    own: Path
    controllers: tuple[str, ...]

    def own_and_above(self) -> Iterator[Path]:
        """Give this process's group and those above it."""
        return _upwards(self.own, self.top)

    def parents(self, wanted: frozenset[str]) -> Iterator[Path]:
        """Give the groups whose children have the controllers, from our own upwards.

        The way up ends at a group whose memory somebody limits: beside it that limit would not hold. Under systemd
        our own group is a service or a scope, full of processes; where it is delegated (`Delegate=yes`) we move them
        into a leaf, else our group stands beside it.
        """
        if not wanted:
            return
        for folder in self.own_and_above():
            if self._enabled(folder, wanted):
                yield folder
            if _read(folder / "memory.max") not in {"", "max"}:
                return

    def values(self, limits: Limits, wanted: Sequence[str]) -> Iterator[Value]:
        """Give the limits."""
        if "memory" in wanted:
            yield "memory.max", limits.memory, True
            yield "memory.swap.max", 0, False
            yield "memory.oom.group", 1, False
        if "pids" in wanted:
            yield "pids.max", limits.processes, True

    def _enabled(self, folder: Path, wanted: frozenset[str]) -> bool:
        if not os.access(folder, os.W_OK) or not wanted <= set(_read(folder / "cgroup.controllers").split()):
            return False
        if wanted <= set(_read(folder / "cgroup.subtree_control").split()):
            return True
        if _enable(folder, wanted):
            return True
        return folder == self.own and _delegated(folder) and _emptied(folder) and _enable(folder, wanted)


def hierarchies(proc: Path) -> list[Hierarchy]:
    """Give the trees that have a controller of ours, as this process sees them."""
    own = {}
    for line in _read(proc / "self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        own[names] = path
    found: list[Hierarchy] = []
    for root, where, kind, options in _mounts(proc):
        if kind == "cgroup":
            for names, path in own.items():
                ours = tuple(name for name in _OURS if name in names.split(",") and name in options)
                here = _below(where, root, path)
                if ours and here is not None:
                    found.append(Version1(where, here, ours))
        elif kind == "cgroup2":
            here = _below(where, root, own.get("", ""))
            if here is not None:
                there = _read(here / "cgroup.controllers").split()
                ours = tuple(name for name in _OURS if name in there)
                if ours:
                    found.append(Version2(where, here, ours))
    return found


def _upwards(own: Path, top: Path) -> Iterator[Path]:
    yield own
    if own != top:
        for folder in own.parents:
            yield folder
            if folder == top:
                return


def _mounts(proc: Path) -> Iterator[tuple[str, Path, str, list[str]]]:
    """Give root, mount point, kind and options of each control group file system (proc_pid_mountinfo(5))."""
    for line in _read(proc / "self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind.startswith("cgroup"):
            fields = before.split(" ")
            yield _plain(fields[3]), Path(_plain(fields[4])), kind, options.split(",")


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _below(where: Path, root: str, path: str) -> Path | None:
    """Give the folder of a group, None where it is outside of what is mounted."""
    group = PurePosixPath(path)
    if not path or ".." in group.parts or not group.is_relative_to(root):
        return None
    folder = where / group.relative_to(root)
    return folder if folder.is_dir() else None


def _enable(folder: Path, wanted: frozenset[str]) -> bool:
    try:
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(wanted)))
    except OSError:
        return False
    return True


def _delegated(folder: Path) -> bool:
    """Tell whether systemd has said that what is below this group is ours (`Delegate=yes`)."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _emptied(folder: Path) -> bool:
    leaf = folder / _LEAF
    try:
        leaf.mkdir(exist_ok=True)
        for process in _read(folder / "cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(process)
    except OSError:
        return False
    return True


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""

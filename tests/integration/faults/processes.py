"""Finds every process that a run has started, by descent and not by name, also when its parents are gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 20.0


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Be the parent of whatever outlives its own: a process cannot get away by the death of the one above it."""
    libc = ctypes.CDLL(None, use_errno=True)
    for value in (1, 0):
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
        if value:
            yield


def parents() -> dict[int, int]:
    """Give every process that has not ended with its parent; the dead that were left to us are buried."""
    found: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, parent = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                found[int(entry.name)] = int(parent)
    return found


def below(pid: int) -> set[int]:
    """Give the living descendants of a process."""
    tree = parents()
    found: set[int] = set()
    more = {pid}
    while more := {child for child, parent in tree.items() if parent in more} - found:
        found |= more
    return found


def bury(known: set[int]) -> None:
    """Take the exit status of adopted children that have ended, and of nobody else's."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) in known:
            continue
        with contextlib.suppress(OSError, ChildProcessError):
            state, parent = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                os.waitpid(int(entry.name), os.WNOHANG)


def argv(pid: int) -> list[str]:
    """Give a process's command line; empty where it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def told(pids: set[int]) -> str:
    """Name processes for the message of a failed assertion."""
    return "\n".join(f"{pid}: {' '.join(argv(pid))[:200]}" for pid in sorted(pids))


def until(what: str, true: Callable[[], object], patience: float = _PATIENCE) -> None:
    """Wait until something is true; fail where it never is."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)

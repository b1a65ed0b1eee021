"""Keeps what one process of a cell may take of the kernel within bounds, where the cell cannot raise them again."""

from __future__ import annotations

import resource
from collections.abc import Mapping

from hermit_workers.cell import Limits

_KIB, _MIB = 1 << 10, 1 << 20
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def rlimits(limits: Limits) -> Mapping[int, tuple[int, int]]:
    """Give soft and hard limit for each resource (resource.RLIMIT_*, getrlimit(2)).

    To be set before the cell's user namespace is made and never to be raised. There is none for address space: Go, Node
    and the JVM reserve terabytes that they never touch.
    """
    endless = resource.RLIM_INFINITY
    return {
        # Fork bombs. Counts threads of one uid in one user namespace: root in a cell is held too, but may become
        # another of 65,536 uids. Control group and watchdog hold them together; so does the kernel where it was not the
        # host's root who made the namespace (all are counted as that user's then, beside what else the user runs).
        resource.RLIMIT_NPROC: (limits.processes, limits.processes),
        # One file that fills the disk, or looks as if it did; memory files (memfd_create(2)) as well.
        resource.RLIMIT_FSIZE: (limits.disk, limits.disk),
        # 1 byte, not 0: no core file has room in it, and only 1 keeps the kernel from starting a crash handler of the
        # host's (core_pattern with `|`), which would read what the build gives it, as root, outside of the cell.
        resource.RLIMIT_CORE: (1, 1),
        # The kernel's table of open files. The soft one is Debian's, which select(2) and old daemons count on; Go,
        # Node and the JVM raise it to the hard one by themselves.
        resource.RLIMIT_NOFILE: (1024, 65536),
        # Memory that cannot be swapped out, and queues that live in the kernel.
        resource.RLIMIT_MEMLOCK: (8 * _MIB, 8 * _MIB),
        resource.RLIMIT_MSGQUEUE: (819200, 819200),
        resource.RLIMIT_SIGPENDING: (16384, 16384),
        # Real-time scheduling and higher priority than the user's own programs.
        resource.RLIMIT_RTPRIO: (0, 0),
        resource.RLIMIT_NICE: (0, 0),
        # Nothing: builds see it (`getconf ARG_MAX`, how deep a recursion goes), so it is the same everywhere.
        resource.RLIMIT_STACK: (8 * _MIB, endless),
    }


def more_descriptors() -> None:
    """Let this process (Hermit itself) have as many open files as it may: taking artifacts holds one each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def told(what: str, used: str, limit: str, setting: str | None = None) -> str:
    """Say for people which limit ended a build: `memory: 8.1 GiB of 8 GiB (limits: memory)`."""
    return f"{what}: {used} of {limit} (limits: {setting or what})"


def size(count: float) -> str:
    """Give bytes as people read them: `8.1 GiB`."""
    unit = 0
    while count >= _KIB and unit < len(_UNITS) - 1:
        count /= _KIB
        unit += 1
    return f"{count:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"

"""Keeps one machine within what it may take of the host, from outside: whatever its guest has made of QEMU."""

# A control group counts QEMU and the libvirtd that started it, where this user may make one; rlimits hold each process
# everywhere. Both stand before the first of these processes begins. What is left of the host is watched besides, as it
# is for sandboxes: a disk that many builds share is full sooner than any of them is at its limit.

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import cgroups
from hermit_workers.sandbox.limits.cgroups import Cgroup
from hermit_workers.sandbox.limits.gauges import free_space
from hermit_workers.sandbox.limits.rlimits import size
from hermit_workers.sandbox.limits.watch import Gauges, Watch
from hermit_workers.vm.domain import TRANSLATED, Domain

_MIB = 1 << 20
# What a machine takes beside its guest's memory and what emulation keeps: QEMU itself, its libvirtd and virtlogd, and
# the kernel's part in them.
OWN = 256 * _MIB
# Reserved and never touched, which only the rlimit counts: stacks of 8 MiB for each thread, arenas of the allocator.
_RESERVED = 1024 * _MIB
# libvirtd has 20, QEMU one for each processor and up to 64 that wait for disks.
_THREADS = 256
_LEAST_FILE = 64 * _MIB  # of what libvirt keeps for itself
_DESCRIPTORS = 65536
_NEVER = 1e9  # seconds: a build's time is kept by its cell


@dataclass(frozen=True, slots=True)
class Bounds:
    """Is what all processes of a machine may take together, and how large one of its files gets; bytes and counts.

    `guest` is the part of `memory` that the guest has; the rest is for what runs it.
    """

    guest: int
    memory: int
    processes: int
    file: int

    def rlimits(self) -> Mapping[str, int]:
        """Give what each process is held by, by its name in resource(3)."""
        return {
            "RLIMIT_DATA": self.memory + _RESERVED,
            "RLIMIT_FSIZE": self.file,
            # 1 byte, not 0, as for a sandbox: only that keeps the kernel from calling the host's crash handler.
            "RLIMIT_CORE": 1,
            "RLIMIT_NOFILE": min(_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        }


def bounds_of(domain: Domain, largest: int) -> Bounds:
    """Say what a machine may take; `largest` is the size of the largest disk that it writes to."""
    translated = TRANSLATED if domain.kind == "qemu" else 0
    memory = domain.memory + translated + OWN
    return Bounds(domain.memory, memory, _THREADS + domain.processors, max(largest, _LEAST_FILE))


class Held:
    """Is what holds one machine.

    States: made -> watching (after `watch`) -> over (after `stop`); that can be done twice.
    """

    def __init__(self, bounds: Bounds) -> None:
        """Make the control group, where this user may."""
        self._bounds = bounds
        cgroups.sweep()  # of Hermits that were killed
        self._group = Cgroup.make(Limits(memory=bounds.memory, processes=bounds.processes))
        self._watch: Watch | None = None
        self._folder: int | None = None

    def admit(self, process: int) -> None:
        """Have the kernel count a process and all that it will start."""
        if self._group is not None:
            self._group.add(process)

    def exceeded(self) -> str | None:
        """Give a sentence for people where the kernel has refused or killed something, else None; cheap."""
        said = self._group.exceeded() if self._group is not None else None
        if said is None:
            return None
        bounds = self._bounds
        if said.startswith("memory"):
            beside = size(bounds.memory - bounds.guest)
            return f"memory: the VM needs more than its {size(bounds.guest)}, and what runs it more than {beside}"
        return f"processes: what runs the VM wants more than {bounds.processes}"

    def watch(self, folder: Path, exceeded: Callable[[str], None]) -> None:
        """Begin: tell `exceeded`, once at most, when the disk of `folder` or the host's memory runs out."""
        self._folder = descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        gauges = Gauges(processes=None, free=lambda: free_space(descriptor), held=self.exceeded)
        self._watch = Watch(Limits(seconds=_NEVER), gauges, exceeded)
        self._watch.start()

    async def stop(self) -> None:
        """Watch no more, and remove the control group with whatever is left in it."""
        watch, self._watch = self._watch, None
        try:
            if watch is not None:
                await watch.stop()
        finally:
            if self._folder is not None:
                os.close(self._folder)
                self._folder = None
            if self._group is not None:
                self._group.remove()

"""Keeps one cell within its limits: control group, watchdog and the count of what it wrote, made and ended together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import cgroups
from hermit_workers.sandbox.limits.cgroups import Cgroup
from hermit_workers.sandbox.limits.disk import Counter
from hermit_workers.sandbox.limits.gauges import free_space, in_pid_namespace, used_segments, used_space
from hermit_workers.sandbox.limits.openfiles import nameless
from hermit_workers.sandbox.limits.watch import Gauges, Watch
from hermit_workers.sandbox.namespaces.holder import Child, Holder


class Guard:
    """Is what watches one cell.

    States: made -> watching (after `watch`) -> over (after `stop`) -> removed (after `remove`); both can be done twice.
    """

    def __init__(self, limits: Limits, exceeded: Callable[[str], None]) -> None:
        """Make the control group, where this user may; take whom to tell, once at most, with a sentence for people."""
        self._limits = limits
        self._exceeded = exceeded
        cgroups.sweep()  # of Hermits that were killed
        self._group = Cgroup.make(limits)
        self._watch: Watch | None = None
        self._counter: Counter | None = None
        self._open: list[int] = []

    def admit(self, process: int) -> None:
        """Have the kernel count a process and all that it will start."""
        if self._group is not None:
            self._group.add(process)

    async def watch(self, holder: Holder, folder: Path, namespace: Callable[[], int]) -> None:
        """Begin: `folder` is where the layer is, `namespace` gives the cell's pid namespace as it is now."""
        layer = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self._open.append(layer)
        root, shared, segments = await holder.files()
        disks = {os.fstat(root).st_dev, os.fstat(layer).st_dev}
        os.close(root)
        self._open += [shared, segments]
        read, write = os.pipe()
        self._counter = counter = Counter(read)
        try:
            # What is mapped and no longer open only the host's root sees; of all the rest, others see nothing here.
            mine = os.geteuid() == 0
            counting = await holder.count(write, nameless=not mine)
        finally:
            os.close(write)
        group = self._group
        kept = group is not None and group.holds >= {"memory", "processes"}
        gauges = Gauges(
            processes=None if kept else lambda: _members(namespace()),
            free=lambda: free_space(layer),
            held=lambda: (None if group is None else group.exceeded()) or _uncounted(counting),
            shared=lambda: used_space(shared) + used_segments(segments),
            disk=counter.latest,
            walks=counter.walks,
            nameless=lambda: nameless(_members(namespace()), disks) if mine else (counter.hidden(),),
        )
        self._watch = Watch(self._limits, gauges, self._exceeded)
        self._watch.start()

    async def check(self) -> None:
        """Look at everything now, and tell what is too much."""
        if self._watch is not None and (sentence := await self._watch.check()) is not None:
            self._exceeded(sentence)

    async def stop(self) -> None:
        """Watch no more."""
        watch, self._watch = self._watch, None
        try:
            if watch is not None:
                await watch.stop()
        finally:
            if self._counter is not None:
                self._counter.close()
            while self._open:
                os.close(self._open.pop())

    def remove(self) -> None:
        """Remove the control group, when nothing is in it any more."""
        if self._group is not None:
            self._group.remove()


def _uncounted(counting: Child) -> str | None:
    """Say that nobody counts what the build writes, where the counting process was killed and the holder was not."""
    return None if counting.status is None else "disk: the process that counts what the build writes was killed"


def _members(namespace: int) -> list[int]:
    return [] if namespace < 0 else in_pid_namespace(os.fstat(namespace).st_ino)

"""Keeps machines booted that wait for their builds, so that a build does not wait for a machine."""

# Nothing is saved and restored: each has been booted for itself, so no two have anything in common that two cold ones
# have not. What a build adds to it comes with its lease, over the agent's wire.

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from hermit_proxy.errors import HermitError
from hermit_workers.cell import Limits
from hermit_workers.leaving import leave_all
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.cell import VmCell
from hermit_workers.vm.parts import Places, Shape

_TRIES = 3  # in a row that come to nothing: after them nobody tries any more


class Pool:
    """Is some machines of one image and one shape.

    States: made -> open -> closed. While it is open one after the other is booted until `size` wait; one that is
    leased, or that has ended while it waited, is replaced. After three in a row that did not start or last no more are
    made: `lease` then gives nothing, and a build boots its own, which says what is wrong.
    """

    def __init__(  # noqa: PLR0913  what a cell takes, how many, and whom to tell
        self,
        image: Bootable,
        limits: Limits,
        shape: Shape,
        places: Places,
        *,
        size: int,
        say: Callable[[str], object] = lambda _line: None,
    ) -> None:
        """Take what each machine is, and how many are to wait.

        `places.folder` is there, and gets a folder for each; `say` gets a line for people for each failure. The clock
        of `shape` counts for nothing: a machine that waits has the present, and at its lease the build's.
        """
        self._image = image
        self._limits = limits
        self._shape = shape
        self._places = places
        self._size = size
        self._say = say
        self._ready: list[VmCell] = []
        self._changed = asyncio.Event()
        self._failures = 0
        self._keeping: asyncio.Task[None] | None = None

    @property
    def ready(self) -> int:
        """Give how many machines wait."""
        return len(self._ready)

    def open(self) -> None:
        """Begin to boot machines, in the background; needs a running loop."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def lease(self, limits: Limits, clock: int) -> VmCell | None:
        """Give a machine that has booted, as it is right after its start, with the build's limits and first moment.

        It is the caller's, who starts and destroys it, and never comes back. None where no machine waits, or the build
        is to have other memory, disk or processes.
        """
        mine = self._limits
        if (limits.memory, limits.disk, limits.processes) != (mine.memory, mine.disk, mine.processes):
            return None
        while self._ready:
            cell = self._ready.pop(0)
            self._changed.set()
            try:
                await cell.lease(limits, clock)
            except HermitError as error:
                self._failed(error)
                await cell.destroy()
            except BaseException:
                await cell.destroy()
                raise
            else:
                self._failures = 0
                return cell
        return None

    async def close(self) -> None:
        """End every machine that waits, and leave nothing of them; doing it twice is safe."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        ready, self._ready = self._ready, []
        await leave_all(*(cell.destroy for cell in ready))

    async def _keep(self) -> None:
        while self._failures < _TRIES:
            if dead := [cell for cell in self._ready if cell.over is None or cell.over.done()]:
                for cell in dead:
                    self._ready.remove(cell)
                    self._failed("one has ended while it waited")
                await leave_all(*(cell.destroy for cell in dead))
            elif len(self._ready) < self._size:
                await self._boot()
            else:
                await self._until_changed()
        self._say(f"pool: {_TRIES} VMs in a row have failed: no more are booted ahead")

    async def _boot(self) -> None:
        """Boot one; at a time, since each wants a core."""
        places = replace(self._places, folder=self._places.folder / secrets.token_hex(8))
        cell = VmCell(self._image, self._limits, replace(self._shape, clock=int(time.time())), places)
        try:
            await cell.boot()
        except BaseException as error:
            await cell.destroy()
            if not isinstance(error, (HermitError, OSError)):
                raise
            self._failed(error)
        else:
            self._ready.append(cell)

    async def _until_changed(self) -> None:
        self._changed.clear()
        changed = asyncio.create_task(self._changed.wait())
        try:
            ends = [cell.over for cell in self._ready if cell.over is not None]
            await asyncio.wait([changed, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    def _failed(self, why: object) -> None:
        self._failures += 1
        self._say(f"pool: a VM was lost: {why}")

"""Is one turn of the VM benchmark: how long each phase takes until the first step of a build can start."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import vmplace

from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.vm import cell as cell_module
from hermit_workers.vm.boot import INITRD, KERNEL
from hermit_workers.vm.cell import VmCell
from hermit_workers.vm.domain import PROCESSOR
from hermit_workers.vm.libvirtd import Libvirtd
from hermit_workers.vm.machine import Machine
from hermit_workers.vm.pool import Pool

# In the order in which they come; of each the end is noted.
COLD = ("disks", "libvirtd", "machine", "kernel", "init", "agent", "source")
WARM = ("lease", "source")
SANDBOX = ("cell", "source")
TUNED = "cryptomgr.notests init_on_alloc=0 no_timer_check"
_WORDS = {"kernel": rb"hermit: [0-9.]+ kernel", "init": rb"hermit: [0-9.]+ ready"}
_LOOK = 0.005
_QUIET = 0.3  # seconds in which is looked who else wants a core
_TOKEN = b"probe here"
_PATIENCE = 120.0


@dataclass(frozen=True)
class Turn:
    """Is one start: the seconds of each phase, of the end of the cell, and the busy share of the machine before."""

    phases: dict[str, float]
    teardown: float
    busy: float

    @property
    def seconds(self) -> float:
        """Give the time from the request to where the first step can start."""
        return sum(self.phases.values())


class _Marks:
    """Notes when something was done."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._begin = time.perf_counter()
        self._times: dict[str, float] = {}

    def note(self, name: str) -> None:
        self._times.setdefault(name, time.perf_counter())

    def phases(self) -> dict[str, float]:
        found, before = {}, self._begin
        for name in self._names:
            found[name], before = self._times[name] - before, self._times[name]
        return found


_marks: list[_Marks] = []


def _noting(function: Callable[..., Awaitable[Any]], name: str, word: str = "") -> Callable[..., Awaitable[Any]]:
    """Give a function that does the same, and notes when it has: the cell tells nobody how far it is."""

    @functools.wraps(function)
    async def noting(*words: Any, **more: Any) -> Any:
        done = await function(*words, **more)
        if _marks and (not word or word in words):
            _marks[-1].note(name)
        return done

    return noting


def look_on() -> None:
    """Have the phases noted from now on, in this process."""
    cell_module.make_files = _noting(cell_module.make_files, "disks")
    Libvirtd.start = _noting(Libvirtd.start, "libvirtd")  # type: ignore[method-assign]  # it is bound already
    Machine._virsh = _noting(Machine._virsh, "machine", "resume")  # type: ignore[method-assign]  # noqa: SLF001  no other sign is given
    VmCell.boot = _noting(VmCell.boot, "agent")  # type: ignore[method-assign]  # as above


async def cold(place: vmplace.Place) -> Turn:
    """Boot a machine for a build."""
    busy = await _busy()
    made = VmCell(place.boots, vmplace.LIMITS, place.shape, place.places("cell"))
    marks = _Marks(COLD)
    _marks.append(marks)
    listening = asyncio.create_task(_listen(place.folder / "cell" / "console", marks))
    try:
        with contextlib.closing(await made.start()):
            await _put(place, made, marks)
    finally:
        _marks.pop()
        listening.cancel()
        teardown = await _timed(made.destroy)
    return Turn(marks.phases(), teardown, busy)


async def warm(place: vmplace.Place) -> Turn:
    """Take a machine that waits; its successor is being booted meanwhile, as it always is."""
    folder = place.folder / "pool"
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    pool = Pool(place.boots, vmplace.LIMITS, place.shape, place.places("pool"), size=1)
    pool.open()
    try:
        async with asyncio.timeout(_PATIENCE):
            while not pool.ready:  # noqa: ASYNC110  a pool tells nobody
                await asyncio.sleep(0.05)
        busy = await _busy()
        marks = _Marks(WARM)
        made = await pool.lease(vmplace.LIMITS, vmplace.CLOCK)
        if made is None:
            raise RuntimeError("the pool gives no machine")
        try:
            with contextlib.closing(await made.start()):
                marks.note("lease")
                await _put(place, made, marks)
        finally:
            teardown = await _timed(made.destroy)
        return Turn(marks.phases(), teardown, busy)
    finally:
        await pool.close()


async def sandbox(place: vmplace.Place) -> Turn:
    """Make a sandbox."""
    busy = await _busy()
    made = SandboxCell(place.tree, place.folder / "sandbox", vmplace.LIMITS)
    marks = _Marks(SANDBOX)
    try:
        with contextlib.closing(await made.start()):
            marks.note("cell")
            await _put(place, made, marks)
    finally:
        teardown = await _timed(made.destroy)
    return Turn(marks.phases(), teardown, busy)


async def bare(place: vmplace.Place, arguments: str = "") -> Turn:
    """Boot the same kernel and initrd by QEMU alone until userland says a word, and power off."""
    busy = await _busy()
    boots, shape = place.boots.folder, place.shape
    accelerator = "kvm" if shape.kind == "kvm" else "tcg,tb-size=512"
    words = ["qemu-system-x86_64", "-machine", "q35", "-accel", accelerator, "-cpu", PROCESSOR]
    words += ["-m", str(vmplace.LIMITS.memory >> 20), "-smp", str(shape.processors), "-display", "none", "-nodefaults"]
    words += ["-no-user-config", "-no-reboot", "-serial", "stdio", "-kernel", str(boots / KERNEL)]
    words += ["-initrd", str(boots / INITRD)]
    words += ["-append", f"console=ttyS0 quiet panic=-1 hermit.{_TOKEN.decode().replace(' ', '=')} {arguments}".strip()]
    marks = _Marks(("userland",))
    running = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    said = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            while running.stdout is not None and (data := await running.stdout.read(1 << 16)):
                said += data
                if _TOKEN in said:
                    marks.note("userland")
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()
    return Turn(marks.phases(), 0.0, busy)


async def _put(place: vmplace.Place, made: VmCell | SandboxCell, marks: _Marks) -> None:
    with place.source.open("rb") as source:
        await made.put(source.fileno())
    marks.note("source")


async def _timed(doing: Callable[[], Awaitable[None]]) -> float:
    begin = time.perf_counter()
    await doing()
    return time.perf_counter() - begin


async def _listen(console: Path, marks: _Marks) -> None:
    """Note when a machine's first programs say how far they are; its times begin later than QEMU."""
    waited = dict(_WORDS)
    while waited:
        with contextlib.suppress(OSError):
            said = console.read_bytes()  # noqa: ASYNC240  a few KiB that are in memory
            for name in [name for name, word in waited.items() if re.search(word, said)]:
                marks.note(name)
                del waited[name]
        await asyncio.sleep(_LOOK)


async def _busy() -> float:
    """Give the share of the machine that is used while this process waits."""
    before = measure.processor_seconds()
    await asyncio.sleep(_QUIET)
    return (measure.processor_seconds() - before) / _QUIET / (os.cpu_count() or 1)


@asynccontextmanager
async def started(place: vmplace.Place) -> AsyncIterator[tuple[VmCell, Any]]:
    """Have a machine, and the socket that is its wire."""
    made = VmCell(place.boots, vmplace.LIMITS, place.shape, place.places("cell"))
    try:
        with contextlib.closing(await made.start()) as listener:
            yield made, listener
    finally:
        await made.destroy()

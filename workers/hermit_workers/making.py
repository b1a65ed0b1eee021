"""Makes the cell that a build is to have, a sandbox or a VM, by one setting."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.errors import UsageError
from hermit_proxy.policy import Mode
from hermit_proxy.settings import CELLS, VmSettings
from hermit_workers.cell import Cell, CellError, Limits
from hermit_workers.image.library import Image, Library
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.limits.rlimits import size

# Gets one line for people where something takes long enough to be told.
Say = Callable[[str], None]

_LEAST_MEMORY = 256 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Wish:
    """Is what a cell has to be: its kind, the folder for what it writes, and what it may use.

    `clock` are the times of the recording that is replayed (seconds since the epoch). `environ` is the master's or the
    user's own, for Hermit's folders.
    """

    kind: str
    mode: Mode
    folder: Path
    limits: Limits
    clock: tuple[float, ...]
    vm: VmSettings
    environ: Mapping[str, str]


def check_cell(kind: str) -> None:
    """Raise UsageError for no kind of cell, CellError where a program is missing that such a cell needs."""
    if kind not in CELLS:
        raise UsageError(f"{kind!r} is no kind of cell", hint=f"one of: {', '.join(CELLS)}")
    if kind == "vm":
        from hermit_workers.vm import layout, link  # noqa: PLC0415  a build in a sandbox should not pay for it

        layout.find_programs()
        if os.geteuid() == 0:  # who is not has QEMU's own network
            link.check_programs()


@asynccontextmanager
async def room_for(wish: Wish, say: Say) -> AsyncIterator[None]:
    """Hold what memory the cell may come to use; raise CellError where this machine has not so much.

    A sandbox needs none: it takes what it uses, and is measured by it. A VM waits for other VMs of this user.
    """
    if wish.kind == "sandbox":
        yield
        return
    from hermit_workers.vm.room import room  # noqa: PLC0415  see above

    memory = wish.limits.memory
    if memory < _LEAST_MEMORY:
        told = f"limits.memory is {size(memory)}, and no machine boots in less than 256 MiB"
        raise UsageError(told, hint="ask for more (limits.memory in the spec), or build in a sandbox (cell: sandbox)")
    async with room(sockets(wish.environ) / "memory", memory, most=wish.vm.memory, say=say):
        yield


async def make_cell(wish: Wish, image: Image, say: Say) -> Cell:
    """Make the cell, not started; raise HermitError where this machine or the image has none of that kind."""
    if wish.kind == "sandbox":
        return SandboxCell(image.root, wish.folder, wish.limits)
    from hermit_workers.image.guest import ensure_guest  # noqa: PLC0415  see above
    from hermit_workers.vm import kvm  # noqa: PLC0415  see above
    from hermit_workers.vm.boot import INITRD, KERNEL, boot_folders, boot_image, vm_cache  # noqa: PLC0415  see above
    from hermit_workers.vm.cell import Places, Shape, VmCell  # noqa: PLC0415  see above

    cache = vm_cache(wish.environ)
    guest = await ensure_guest(wish.mode, environ=wish.environ, progress=say)
    with Library.of(wish.environ).use(guest):
        boots = await boot_image(image, guest, boot_folders(wish.environ), say)
    kernel, initrd = boots.folder / KERNEL, boots.folder / INITRD
    verdict = await kvm.choose(wish.vm.kind, kernel, initrd, cache=cache / "kvm.json")
    shape = Shape(verdict.kind, wish.vm.processors, int(_clock(wish)))
    how = "emulated, " if verdict.kind == "qemu" else ""
    processors = "1 processor" if shape.processors == 1 else f"{shape.processors} processors"
    say(f"booting a machine: {how}{size(wish.limits.memory)} of memory, {processors}")
    return VmCell(boots, wish.limits, shape, Places(wish.folder, cache / "libvirt", sockets(wish.environ)))


def _clock(wish: Wish) -> float:
    """Give the machine's first moment: a replay has its recording's, and what is recorded now is not of the future."""
    return wish.clock[0] if wish.mode is Mode.HERMETIC and wish.clock else time.time()


def sockets(environ: Mapping[str, str]) -> Path:
    """Give the folder for libvirt's sockets, whose paths have to be short; raise CellError where it is not safe."""
    if os.geteuid() == 0:
        folder, mode, mend = Path("/run/hermit"), 0o755, "remove it: it is made anew"
    else:
        base = environ.get("XDG_RUNTIME_DIR", "")
        own = Path(f"/tmp/hermit-{os.getuid()}")  # noqa: S108  whose it is is looked at below
        folder, mode = Path(base, "hermit") if Path(base).is_absolute() else own, 0o700
        mend = "set XDG_RUNTIME_DIR to a folder of your own"
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise CellError(f"{folder} cannot be made: {error.strerror}", hint=mend) from error
    # A link is nobody's: every one counts as open to all.
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        raise CellError(f"{folder} is no folder that you alone write to", hint=mend)
    return folder

"""Makes the cell that a build asked for, a sandbox or a VM."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from hermit_cli.build.order import Order
from hermit_proxy.policy import Mode
from hermit_workers.cell import Cell, CellError
from hermit_workers.image.library import Image
from hermit_workers.sandbox.cell import SandboxCell

LAYER = "cell"
_PROCESSORS = 2  # like the machine that the figures are from; a setting is to come
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_cell(kind: str) -> None:
    """Raise CellError where a program is missing that such a cell needs: an image may have to be made first."""
    if kind == "vm":
        from hermit_workers.vm import layout, link  # noqa: PLC0415  a build in a sandbox should not pay for it

        layout.find_programs()
        if os.geteuid() == 0:  # who is not has QEMU's own network
            link.check_programs()


async def make_cell(order: Order, image: Image) -> Cell:
    """Make the cell, not started; raise HermitError where this machine or the image has none of that kind."""
    folder = order.rundir / LAYER
    if order.cell == "sandbox":
        return SandboxCell(image.root, folder, order.limits)
    from hermit_workers.vm import kvm  # noqa: PLC0415  see above
    from hermit_workers.vm.boot import INITRD, KERNEL, make_bootable  # noqa: PLC0415  see above
    from hermit_workers.vm.cell import Places, Shape, VmCell  # noqa: PLC0415  see above

    cache = _cache(order.environment)
    boots = await make_bootable(image.folder, image.digest, image.size, image.made, cache / "boot")
    verdict = await kvm.choose("auto", boots.folder / KERNEL, boots.folder / INITRD, cache=cache / "kvm.json")
    shape = Shape(verdict.kind, _PROCESSORS, int(_clock(order)))
    return VmCell(boots, order.limits, shape, Places(folder, cache / "libvirt", _sockets(order.environment)))


def _clock(order: Order) -> float:
    """Give the machine's first moment: a replay has its recording's, and what is recorded now is not of the future."""
    recorded = order.proxy.clock if order.mode is Mode.HERMETIC else ()
    return recorded[0] if recorded else time.time()


def _cache(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME", "")
    home = Path(environment.get("HOME") or Path.home()) / ".cache"
    return (Path(base) if Path(base).is_absolute() else home) / "hermit" / "vm"


def _sockets(environment: Mapping[str, str]) -> Path:
    """Give the folder for libvirt's sockets, whose paths have to be short; raise CellError where it is not safe."""
    if os.geteuid() == 0:
        folder, mode, mend = Path("/run/hermit"), 0o755, "remove it: it is made anew"
    else:
        base = environment.get("XDG_RUNTIME_DIR", "")
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

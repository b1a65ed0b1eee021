"""Makes what a machine is started from: the build's own disks, and the description that libvirt reads."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_workers.cell import CellError, Limits
from hermit_workers.cellfiles import CellFile, as_tar
from hermit_workers.vm.bootfolder import IMAGE, INITRD, KERNEL
from hermit_workers.vm.domain import Disk, Domain, Kind
from hermit_workers.vm.guest import disks
from hermit_workers.vm.layout import qemu_ids

NAME = "hermit-build"
_GUEST = Path(__file__).parent / "guest"
_AGENT = PurePosixPath("/run/hermit-agent")
_MIB = 1 << 20
_HIDDEN = 0o711  # QEMU passes through and sees no names


@dataclass(frozen=True, slots=True)
class Shape:
    """Is what of a VM is not the image's and not the build's: its kind, processors, and first moment (epoch)."""

    kind: Kind
    processors: int
    clock: int


@dataclass(frozen=True, slots=True)
class Places:
    """Is where a VM's files are.

    `folder` is for what the build writes; it is made, and goes with the cell. `cache` is where libvirt keeps what it
    knows of QEMU. `sockets` is a folder with a short path (107 bytes are all that a socket has) that QEMU's user may
    pass through.
    """

    folder: Path
    cache: Path
    sockets: Path


async def make_files(folder: Path, limits: Limits) -> None:
    """Make a folder with a build's disks, which QEMU alone reads and writes; raise CellError where there is no room."""
    await asyncio.to_thread(_thd_make_folder, folder)
    await disks.make_scratch_disk(limits.disk, folder / "scratch")
    if os.geteuid() == 0:
        for name in ("scratch", "data"):
            os.chown(folder / name, *qemu_ids())


def _thd_make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=_HIDDEN)
        folder.chmod(_HIDDEN)
    except OSError as error:
        raise CellError(f"{folder} cannot be made: {error.strerror}", hint="make room") from error
    names = ("agent.pl", "forward.pl", "redirect.pl")
    with as_tar([CellFile(_AGENT / name, (_GUEST / name).read_bytes()) for name in names], 0) as archive:
        disks.make_data_disk(archive, folder / "data")


def describe(image: Path, files: Path, limits: Limits, shape: Shape) -> Domain:
    """Describe a machine but for its link, by the folders that its QEMU sees."""
    return Domain(
        name=NAME,
        kind=shape.kind,
        memory=limits.memory - limits.memory % _MIB,
        processors=shape.processors,
        kernel=image / KERNEL,
        initrd=image / INITRD,
        console=files / "console",
        clock=shape.clock,
        disks=(
            Disk(image / IMAGE, disks.IMAGE),
            Disk(files / "scratch", disks.SCRATCH, writable=True),
            Disk(files / "data", disks.DATA),
        ),
        link=None,
        arguments=(f"hermit.clock={shape.clock}", f"hermit.processes={limits.processes}"),
        runs_as=qemu_ids() if os.geteuid() == 0 else None,
    )

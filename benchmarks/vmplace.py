"""Makes what the VM benchmark starts machines from, on a machine where nothing was made before."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.cell import Limits
from hermit_workers.sandbox.namespaces.mapped import remove_tree
from hermit_workers.vm import kvm
from hermit_workers.vm.boot import INITRD, KERNEL, Bootable, make_bootable
from hermit_workers.vm.parts import Places, Shape

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.support import bootimage, sandbox

NoImageError = bootimage.NoImageError
CLOCK = 1_600_000_000
PROCESSORS = 2
LIMITS = Limits(memory=2 << 30)
_FILES, _SIZE = 200, 8 << 10
_BUILD_USER = 1000


@dataclass(frozen=True)
class Place:
    """Is a folder with an image, what boots it, and a source of 200 files and 1.6 MB as a tar.

    `tree` is what a sandbox is made over: about the same programs, without a kernel.
    """

    folder: Path
    boots: Bootable
    shape: Shape
    source: Path
    tree: Path

    def places(self, name: str) -> Places:
        """Say where a machine's files are."""
        return Places(self.folder / name, self.folder / "cache", self.folder)


async def make(folder: Path) -> Place:
    """Make all of it; raise bootimage.NoImageError."""
    await asyncio.to_thread(bootimage.make, folder)
    size = await asyncio.to_thread(bootimage.size, folder)
    boots = await make_bootable(folder, "sha256:bench", size, CLOCK, folder / "boot")
    verdict = await kvm.choose("auto", boots.folder / KERNEL, boots.folder / INITRD, cache=folder / "kvm.json")
    source = folder / "source.tar"
    await asyncio.to_thread(_write_source, source)
    tree = await asyncio.to_thread(sandbox.image)
    return Place(folder, boots, Shape(verdict.kind, PROCESSORS, CLOCK), source, tree)


async def leave(folder: Path) -> None:
    """Remove what belongs to mapped ids."""
    await remove_tree(folder / "root")


def _write_source(target: Path) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(_FILES):
            info = tarfile.TarInfo(f"build/project/{number % 10}/file{number}")
            info.size, info.mtime = _SIZE, CLOCK
            info.uid = info.gid = _BUILD_USER
            archive.addfile(info, io.BytesIO(os.urandom(_SIZE)))

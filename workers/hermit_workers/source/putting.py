"""Puts into a cell what a build begins with: Hermit's own files, and the source."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path, PurePosixPath

from hermit_proxy.errors import HermitError
from hermit_proxy.run.ca import RunCA
from hermit_workers.buildview import build_files
from hermit_workers.cell import Cell
from hermit_workers.cellfiles import as_tar
from hermit_workers.environment import Wire
from hermit_workers.image.library import Image
from hermit_workers.source.archive import write_archive
from hermit_workers.source.worktree import Source


async def put_own(cell: Cell, image: Image, authority: RunCA, wire: Wire, epoch: int) -> None:
    """Put Hermit's own files in; those of an earlier run are replaced."""
    with as_tar(build_files(image.root, authority, wire), epoch) as own:
        await cell.put(own.fileno())


async def put_source(cell: Cell, source: Source, place: PurePosixPath, rundir: Path) -> str:
    """Send the source through a pipe, as it is read, to `place`; give the digest of its files (see write_archive)."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    written = asyncio.ensure_future(asyncio.to_thread(_write, writing, source, place, rundir / "git"))
    try:
        await cell.put(reading)
    except HermitError:
        os.close(reading)  # ends the writing, too
        await _first_cause(written)
        raise
    except BaseException:
        os.close(reading)
        with contextlib.suppress(HermitError):
            await cell.stop()  # its tar has the other end of the pipe and would go on
        await asyncio.wait({written})
        raise
    os.close(reading)
    return await written


async def _first_cause(written: asyncio.Future[str]) -> None:
    """Raise what the source could not be read for: that is why the archive broke off."""
    with contextlib.suppress(BrokenPipeError):
        await written


def _write(descriptor: int, source: Source, place: PurePosixPath, scratch: Path) -> str:
    with open(descriptor, "wb", buffering=0) as stream:
        return write_archive(stream, source, place, scratch)

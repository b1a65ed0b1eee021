"""Runs a program in a holder's namespaces and tells its lines while they come."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hermit_workers.image.errors import ImageError
from hermit_workers.sandbox.namespaces.holder import Holder

_KEPT = 12
_LEAST_ROOM = 16 << 20
_MOST_SECONDS = 2 * 3600
_INTERVAL = 1.0
_LONGEST = 1 << 16


async def run_told(  # noqa: PLR0913  the keywords say what they are
    holder: Holder,
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    folder: Path,
    descriptors: Mapping[int, int] | None = None,
    until: asyncio.Future[Any] | None = None,
) -> tuple[int, list[str]]:
    """Run a program of the host's to its end; give its status and its last lines.

    It gets `descriptors` beside an empty stdin and a pipe. Raises ImageError where it takes hours, or where the disk of
    `folder` is full: there apt waits for ever. Then, and where `until` is done first, the holder's end is the
    program's; the status is -1 for the latter.
    """
    read, write = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        child = await holder.spawn(command, descriptors={**(descriptors or {}), 0: nothing, 1: write, 2: write})
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(nothing)
        os.close(write)
    reading = asyncio.create_task(_read(read, on_line))
    watching = asyncio.create_task(_watch(folder))
    waiting: set[asyncio.Future[Any]] = {reading, watching} if until is None else {reading, watching, until}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            return await child.wait(), reading.result()
        if watching.done():
            watching.result()
        return -1, []
    finally:
        reading.cancel()
        watching.cancel()


async def _watch(folder: Path) -> None:
    """Raise ImageError when something is up with which a program would wait for ever."""
    began = time.monotonic()
    while time.monotonic() - began < _MOST_SECONDS:
        if shutil.disk_usage(folder).free < _LEAST_ROOM:
            raise ImageError(f"the disk of {folder.parent.parent} is full", hint="make room, or set XDG_DATA_HOME")
        await asyncio.sleep(_INTERVAL)
    raise ImageError(f"the image was not made in {_MOST_SECONDS // 3600} hours", hint="run it again")


async def _read(descriptor: int, on_line: Callable[[str], None]) -> list[str]:
    last: deque[str] = deque(maxlen=_KEPT)
    stream = asyncio.StreamReader(limit=_LONGEST)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb")
    )
    try:
        while line := await _line(stream):
            last.append(line.decode(errors="replace").rstrip())
            on_line(last[-1])
    finally:
        transport.close()
    return list(last)


async def _line(stream: asyncio.StreamReader) -> bytes:
    """Read a line, or a piece of one that is too long."""
    try:
        return await stream.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)

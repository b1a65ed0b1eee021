"""Receives artifacts from a cell, as descriptors; giving.py is the other end, inside."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Sequence
from pathlib import PurePosixPath

from hermit_workers.cell import CellError, Taken
from hermit_workers.sandbox.artifacts.taking import ArtifactError
from hermit_workers.sandbox.limits.rlimits import more_descriptors
from hermit_workers.sandbox.namespaces import inside, mapped
from hermit_workers.sandbox.namespaces.holder import Holder


async def receive(holder: Holder, folder: PurePosixPath, patterns: Sequence[str], *, most: int) -> list[Taken]:
    """Give what matches below a folder of the cell, at most so many bytes together; raise ArtifactError."""
    more_descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    found: list[Taken] = []
    with ours:
        with theirs:
            await holder.take(theirs.fileno(), str(folder), patterns, most=most)
        try:
            await _until_done(ours, found)
        except BaseException:
            for taken in found:
                os.close(taken.descriptor)
            raise
    return found


async def _until_done(control: socket.socket, found: list[Taken]) -> None:
    while True:
        await mapped.readable(control)
        told, descriptors = inside.receive(control)
        if told is None:
            raise CellError("the process that takes artifacts has gone")
        if "error" in told:
            raise ArtifactError(told["error"], hint=told["hint"])
        if "done" in told:
            return
        if not descriptors:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            raise ArtifactError(
                f"artifacts: more files than this user may have open at once ({limit:,})",
                hint="pack them into an archive, or raise the limit (ulimit -n)",
            )
        path = PurePosixPath(told["path"])
        found.append(Taken(path, descriptors[0], told["size"], told["executable"]))
        await asyncio.sleep(0)  # there may be many, and others wait for the loop

"""Runs programs of the host as the root of the mapped ids: what unpacks, changes and removes a cell's files outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import hermit_workers
from hermit_workers.cell import CellError
from hermit_workers.sandbox.namespaces import idmap

_ROOT = str(Path(hermit_workers.__file__).parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv[1]); from hermit_workers.sandbox.namespaces import {0}; "
_START += "sys.exit({0}.main(sys.argv[2:]))"


def python(module: str, *arguments: str) -> list[str]:
    """Give the command that starts a module of this package in a Python that loads nothing else (15 ms)."""
    return [sys.executable, "-I", "-S", "-c", _START.format(module), _ROOT, *arguments]


async def run_mapped(  # noqa: PLR0913  what a process is started with
    argv: Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    ids: idmap.IdMap | None = None,
) -> int:
    """Run a program of the host in a mapped user and mount namespace to its end; give its status, 128 + n for signals.

    It is uid 0 there and reaches the files of the mapped ids and the user's own, who is uid and gid `idmap.OWN`. No
    descriptor for stdin means an empty one; stdout and stderr are this process's unless said, the
    umask is 022. Cancelling kills it.
    Raises CellError where the ids cannot be mapped.
    """
    chosen = idmap.find() if ids is None else ids
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours:
        with theirs:
            running = await asyncio.create_subprocess_exec(
                *python("enter", str(theirs.fileno()), str(os.getpid()), *argv),
                stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(theirs.fileno(), *pass_fds),
                env=None if environment is None else dict(environment),
                cwd=folder,
            )
        try:
            await admit(ours, chosen, own=True)
            status = await running.wait()
        finally:
            if running.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    running.kill()
                await running.wait()
    return status if status >= 0 else 128 - status


async def admit(control: socket.socket, ids: idmap.IdMap, *, own: bool = False) -> int:
    """Map the ids of the process that waits in kernel.new_user_namespace; give its number."""
    loop = asyncio.get_running_loop()
    asked = await loop.sock_recv(control, 16)
    if not asked:
        raise CellError("this user can make no user namespace", hint="hermit doctor")
    await idmap.write(int(asked), ids, own=own)
    await loop.sock_sendall(control, b"go")
    return int(asked)


async def readable(control: socket.socket) -> None:
    """Wait until a socket has something to say, or its end."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def _on_readable() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(control.fileno(), _on_readable)
    try:
        await ready
    finally:
        loop.remove_reader(control.fileno())


async def remove_tree(path: Path) -> None:
    """Remove a folder whose files may belong to mapped ids; raise CellError where something stays.

    Links are removed, not followed, and no other file system is entered.
    """
    if _is_there(path) and await run_mapped(["rm", "-rf", "--one-file-system", "--", str(Path.cwd() / path)]):
        raise CellError(f"{path} cannot be removed", hint=f"look what it is: ls -la {path}")


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)

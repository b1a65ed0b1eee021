"""Runs one command in one cell: from the files that it is shown to the last of its processes."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from hermit_workers import seccomp
from hermit_workers.cell import CellError
from hermit_workers.command import entry
from hermit_workers.command.bwrap import Sandbox, bwrap_arguments

_CREDENTIALS = struct.Struct("3i")  # struct ucred, unix(7)
# They come from a terminal or a supervisor; the cell's own processes must not die of them before the command has been
# asked, so everything up to the command starts with them blocked, and entry.py unblocks them for it.
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_SETUP = 5.0  # seconds; bubblewrap takes a hundredth of one


class Cell:
    """Is one running sandbox.

    States: started (bubblewrap runs, the command waits) -> handed out (its socket is here) -> running (after `go`)
    -> over. `destroy` leads to over from everywhere; doing it twice is safe.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        """Take over bubblewrap and the socket to entry.py."""
        self._process = process
        self._control = control
        self._command: int | None = None
        self._init: int | None = None

    @classmethod
    def start(
        cls,
        sandbox: Sandbox,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdout: IO[bytes] | None = None,
    ) -> Self:
        """Start bubblewrap from the main thread: the kernel ties its life to the thread that made it."""
        program = shutil.which("bwrap")
        if program is None:
            raise CellError("bubblewrap is not installed", hint="apt-get install bubblewrap")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            filter_file = stack.enter_context(tempfile.TemporaryFile())
            filter_file.write(seccomp.program())
            filter_file.seek(0)
            arguments = [program, *bwrap_arguments(sandbox, seccomp_fd=filter_file.fileno()), "--"]
            arguments += [sys.executable, "-I", "-S", entry.__file__, str(theirs.fileno())]
            arguments += [environment.get("LC_CTYPE", ""), "--", *command]
            kept = (filter_file.fileno(), theirs.fileno())
            before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
            try:
                process = subprocess.Popen(arguments, env=dict(environment), pass_fds=kept, stdout=stdout)
            except OSError as error:
                ours.close()
                raise CellError(f"bubblewrap does not start: {error.strerror}", hint="hermit doctor") from error
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return cls(process, ours)

    async def listener(self) -> socket.socket:
        """Wait for the listening socket that the cell opened for its proxy; raise CellError where none comes."""
        self._control.setblocking(False)
        await _readable(self._control.fileno())
        space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(array.array("i").itemsize)
        data, ancillary, _, _ = self._control.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
        found: socket.socket | None = None
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                self._command = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
            elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found = socket.socket(fileno=int.from_bytes(content[:4], sys.byteorder))
        if data != b"L" or found is None:
            raise CellError("bubblewrap made no sandbox (its own words are above)", hint="hermit doctor")
        if self._command is not None:
            with contextlib.suppress(OSError):  # gone already: nothing to wait for
                self._init = os.pidfd_open(_parent(self._command))
        return found

    def go(self) -> None:
        """Let entry.py become the command."""
        with contextlib.suppress(BrokenPipeError, ConnectionError):  # died meanwhile: wait() tells
            self._control.send(b"G")

    async def wait(self) -> int:
        """Wait for the end of the command and so of everything in the cell; give its status, 128 + n for signals."""
        if self._process.returncode is None:
            descriptor = os.pidfd_open(self._process.pid)
            try:
                await _readable(descriptor)
            finally:
                os.close(descriptor)
        if self._init is not None:
            # bubblewrap leaves as soon as it knows the status; the namespace is empty when its first process is gone.
            await _readable(self._init)
            os.close(self._init)
            self._init = None
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def signal(self, number: int) -> None:
        """Pass a signal to the command alone, as the terminal or a supervisor would; before `go` it ends the cell."""
        if self._command is None or self._process.poll() is not None:
            self._kill()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._command, number)

    async def destroy(self) -> None:
        """End every process of the cell: they die with the first one of their namespace."""
        if self._command is None and self._process.poll() is None:
            # Half a sandbox would be left to itself for a moment, and complain about what is being removed under it.
            with contextlib.suppress(CellError, TimeoutError, OSError):
                (await asyncio.wait_for(self.listener(), _SETUP)).close()
        self._kill()
        await self.wait()
        self._control.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def _parent(process: int) -> int:
    """Give the parent's number, proc_pid_stat(5); the name before it may hold spaces and brackets."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def on_readable() -> None:
        if not ready.done():
            ready.set_result(None)

    # Two may wait for one thing, and the loop keeps one reader a descriptor: the first to leave would take it away.
    own = os.dup(descriptor)
    loop.add_reader(own, on_readable)
    try:
        await ready
    finally:
        loop.remove_reader(own)
        os.close(own)

"""Starts a libvirtd of Hermit's own where the machine runs none, and takes it away with every VM that it started."""

# Its sockets, settings and notes lie in one folder of Hermit's: it never meets the machine's own libvirtd, and another
# user's neither. Root's finds them in a mount namespace, because libvirt has the places compiled in for root.

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import hermit_workers
from hermit_workers.cell import CellError
from hermit_workers.vm.layout import Programs, check_length, environment, find_programs, prepare, take

_ROOT = str(Path(hermit_workers.__file__).parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv[1]); from hermit_workers.vm import born; "
_START += "sys.exit(born.main(sys.argv[2:]))"
_SECONDS, _INTERVAL = 30.0, 0.02
_TOLD = 2000


class Libvirtd:
    """Is one libvirtd and all that it starts.

    States: started -> stopped. `died` is done when it has ended, by itself or by `stop`; then its machines have too.
    """

    def __init__(self, folder: Path, held: int, client: str, running: asyncio.subprocess.Process) -> None:
        """Take what `start` made."""
        self._folder = folder
        self._held: int | None = held
        self._client = client
        self._running = running
        self.listeners: list[socket.socket] = []
        self.died: asyncio.Task[int] = asyncio.create_task(running.wait())

    @classmethod
    async def start(
        cls, folder: Path, *, cache: Path, ports: Sequence[int] = (), binds: Mapping[str, Path] | None = None
    ) -> Self:
        """Start one in a folder of its own, which goes with it; raise CellError with what is missing or what it said.

        `cache` keeps what libvirt found out about QEMU, which takes it seconds the first time. A user who is not root
        gets one for each build, born in a network namespace: a guest reaches the sockets that listen on `ports`
        there, which are `listeners` and the caller's to close, and nothing of the host. Root makes a Link instead.
        `binds` are folders that are seen below `folder` under these names, by libvirtd and its machines alone: so they
        read what lies where they may not pass.
        """
        programs = find_programs()
        folder = Path.cwd() / folder
        check_length(folder)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                held, running = await _launch(folder, cache, programs, theirs, binds or {})
            made = cls(folder, held, programs.client, running)
            try:
                if os.geteuid():
                    made.listeners = await asyncio.to_thread(_thd_ports, ours, ports)
                await made._answering()
            except BaseException:
                await made.stop()
                raise
        return made

    @property
    def uri(self) -> str:
        """Give libvirt's name of the connection."""
        kind, place = ("session", "run/libvirt") if os.geteuid() else ("system", "run")
        return f"qemu:///{kind}?socket={self._folder / place / 'libvirt-sock'}"

    async def stop(self) -> None:
        """End it and every machine that it started, and leave no file; doing it twice is safe."""
        for listener in self.listeners:
            listener.close()
        if not self.died.done():
            with contextlib.suppress(ProcessLookupError):
                self._running.terminate()
        await asyncio.wait([self.died])
        if self._held is not None:
            held, self._held = self._held, None
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            os.close(held)

    async def _answering(self) -> None:
        """Wait until it has what it needs: it opens its socket first, and then may find that it cannot."""
        deadline = time.monotonic() + _SECONDS
        while refused := await self._refused():
            if self.died.done():
                raise _ended(self.died.result(), self._folder / "said")
            if time.monotonic() > deadline:
                raise CellError(f"libvirtd does not answer in {_SECONDS:.0f} s: {refused}", hint="hermit doctor")
            await asyncio.sleep(_INTERVAL)

    async def _refused(self) -> str:
        """Give what libvirt's client says, nothing where it is served."""
        if not await asyncio.to_thread(os.path.exists, self.uri.partition("=")[2]):
            return "there is no socket"
        asking = await asyncio.create_subprocess_exec(
            self._client, "--connect", self.uri, "version",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await asyncio.wait_for(asking.communicate(), _SECONDS)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                asking.kill()
            raise
        return said.decode(errors="replace").strip() if asking.returncode else ""


async def _launch(
    folder: Path, cache: Path, programs: Programs, control: socket.socket, binds: Mapping[str, Path]
) -> tuple[int, asyncio.subprocess.Process]:
    """Give what holds the folder, and the first process."""
    try:
        with contextlib.ExitStack() as stack:
            held = await asyncio.to_thread(take, folder)
            stack.callback(os.close, held)
            arguments = await asyncio.to_thread(_thd_bind, folder, binds)
            arguments += await asyncio.to_thread(prepare, folder, cache, programs)
            number = str(control.fileno()) if os.geteuid() else "-"
            with (folder / "said").open("ab") as log:
                running = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", _START, _ROOT, str(os.getpid()), number, *arguments),
                    stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=environment(folder, cache),
                    pass_fds=(control.fileno(),) if os.geteuid() else (),
                )  # fmt: skip
            stack.pop_all()
            return held, running
    except OSError as error:
        hint = "make room, or set XDG_RUNTIME_DIR"
        raise CellError(f"libvirtd cannot be started in {folder}: {error.strerror}", hint=hint) from error


def _thd_bind(folder: Path, binds: Mapping[str, Path]) -> list[str]:
    """Make the places of the binds; give them as born.main takes them."""
    for name, source in binds.items():
        if "=" in str(source):
            message = f"a VM cannot have the folder {source}: there is a `=` in its path"
            raise CellError(message, hint="put Hermit's folders (XDG_DATA_HOME, XDG_STATE_HOME) elsewhere")
        (folder / name).mkdir(mode=0o711)
    return [f"{source}={folder / name}" for name, source in binds.items()]


def _thd_ports(control: socket.socket, ports: Sequence[int]) -> list[socket.socket]:
    """Get the sockets of these ports; none where the other end has gone, which then has said why."""
    try:
        control.send(" ".join(str(int(port)) for port in ports).encode() or b" ")
        _, descriptors, _, _ = socket.recv_fds(control, 16, len(ports))
    except OSError:
        return []
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for one in found:
        one.setblocking(False)
    return found


def _ended(status: int, said: Path) -> CellError:
    return CellError(f"libvirtd ended with {status}{_last(said)}", hint="hermit doctor")


def _last(said: Path) -> str:
    try:
        text = said.read_bytes()[-_TOLD:].decode(errors="replace").strip()
    except OSError:
        text = ""
    return f"; it said:\n{text}" if text else " and said nothing"

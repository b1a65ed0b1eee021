"""Starts a libvirtd of Hermit's own where the machine runs none, and takes it away with every VM that it started."""

# Its sockets, settings and notes lie in one folder of Hermit's: it never meets the machine's own libvirtd, and another
# user's neither. Root's finds them in a mount namespace, because libvirt has the places compiled in for root.

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import hermit_workers
from hermit_workers.cell import CellError
from hermit_workers.vm.bounds import Bounds, Held
from hermit_workers.vm.layout import check_length, environment, find_programs, prepare, take
from hermit_workers.waiting import to_the_end

_ROOT = str(Path(hermit_workers.__file__).parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv[1]); from hermit_workers.vm import born; "
_START += "sys.exit(born.main(sys.argv[2:]))"
_SECONDS, _INTERVAL = 30.0, 0.02
_TOLD = 2000
_TRY = "qemu-system-x86_64 --version"
_NO_SOCKET = "there is no socket"
# What is said before it listens; whatever else it says is an answer.
_UNREACHED = re.compile(f"{_NO_SOCKET}|failed to connect|[Ee]nd of file|[Cc]onnection reset|[Bb]roken pipe")


class Libvirtd:
    """Is one libvirtd and all that it starts.

    States: started -> stopped. `died` is done when it has ended, by itself or by `stop`; then its machines have too.
    """

    def __init__(
        self, folder: Path, lock: int, client: str, running: asyncio.subprocess.Process, held: Held | None
    ) -> None:
        """Take what `start` made."""
        self._folder = folder
        self._lock: int | None = lock
        self.held = held
        self._client = client
        self._running = running
        self.listeners: list[socket.socket] = []
        self.died: asyncio.Task[int] = asyncio.create_task(running.wait())

    @classmethod
    async def start(  # noqa: PLR0913  where it is, what it keeps, and what holds it
        cls,
        folder: Path,
        *,
        cache: Path,
        ports: Sequence[int] = (),
        binds: Mapping[str, Path] | None = None,
        bounds: Bounds | None = None,
        namespace: Path | None = None,
    ) -> Self:
        """Start one in a folder of its own, which goes with it; raise CellError with what is missing or what it said.

        `cache` keeps what libvirt found out about QEMU, which takes it seconds the first time. A user who is not root
        gets one for each build, born in a network namespace: a guest reaches the sockets that listen on `ports`
        there, which are `listeners` and the caller's to close, and nothing of the host. Root makes a Link instead, and
        its `namespace` is where libvirtd and QEMU are born; without one they have no network at all.
        `binds` are folders that are seen below `folder` under these names, by libvirtd and its machines alone: so they
        read what lies where they may not pass. `bounds` hold all of it; without them nothing does.
        """
        programs = find_programs()
        folder = Path.cwd() / folder
        check_length(folder)
        held, limits = None, ""
        if bounds is not None:
            held, limits = Held(bounds), ",".join(f"{name}={value}" for name, value in bounds.rlimits().items())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            try:
                with theirs:
                    wire = str(theirs.fileno()) if os.geteuid() else str(namespace or "-")
                    lock, running = await _launch(folder, cache, wire, binds or {}, limits)
            except BaseException:
                if held is not None:
                    await held.stop()
                raise
            made = cls(folder, lock, programs.client, running, held)
            try:
                made._let_begin()
                if os.geteuid():
                    made.listeners = await asyncio.to_thread(_thd_ports, ours, ports)
                await made._answering()
            except BaseException:
                await to_the_end(made.stop())
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
            self.end()
        await asyncio.wait([self.died])
        if self._lock is not None:
            lock, self._lock = self._lock, None
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            os.close(lock)
        if self.held is not None:
            await self.held.stop()

    def end(self) -> None:
        """Have it end, with every machine that it started; `stop` waits for that and takes the rest away."""
        with contextlib.suppress(ProcessLookupError):
            self._running.terminate()

    def _let_begin(self) -> None:
        """Have the first process go on, which its limits hold now and all that it starts."""
        if self.held is not None:
            self.held.admit(self._running.pid)
        if self._running.stdin is not None:
            self._running.stdin.write(b"\n")
            self._running.stdin.close()

    async def _answering(self) -> None:
        """Wait until it has what it needs: it opens its socket first, and then may find that it cannot."""
        deadline = time.monotonic() + _SECONDS
        while refused := await self._refused():
            if self.died.done():
                raise _ended(self.died.result(), self._folder / "said")
            if not _UNREACHED.search(refused):
                message = f"libvirt makes no VMs here: {refused}"
                raise CellError(message, hint=f"does `{_TRY}` say its version?")
            if time.monotonic() > deadline:
                raise CellError(f"libvirtd does not answer in {_SECONDS:.0f} s: {refused}", hint="hermit doctor")
            await asyncio.sleep(_INTERVAL)

    async def _refused(self) -> str:
        """Give what libvirt's client says, nothing where it is served."""
        if not await asyncio.to_thread(os.path.exists, self.uri.partition("=")[2]):
            return _NO_SOCKET
        asking = await asyncio.create_subprocess_exec(
            self._client, "--connect", self.uri, "version",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await asyncio.wait_for(asking.communicate(), _SECONDS)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                asking.kill()
            if isinstance(error, TimeoutError):
                message = f"libvirtd takes a connection and does not answer in {_SECONDS:g} s"
                raise CellError(message, hint="hermit doctor") from None
            raise
        return said.decode(errors="replace").strip() if asking.returncode else ""


async def _launch(
    folder: Path, cache: Path, wire: str, binds: Mapping[str, Path], limits: str
) -> tuple[int, asyncio.subprocess.Process]:
    """Give what holds the folder, and the first process."""
    try:
        with contextlib.ExitStack() as stack:
            lock = await asyncio.to_thread(take, folder)
            stack.callback(os.close, lock)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            arguments = await asyncio.to_thread(_thd_bind, folder, binds)
            arguments += await asyncio.to_thread(prepare, folder, cache, find_programs())
            with (folder / "said").open("ab") as log:
                running = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", "-c", _START, _ROOT, str(os.getpid()), wire, limits, *arguments),
                    stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, env=environment(folder, cache),
                    pass_fds=(int(wire),) if wire.isdigit() else (),
                )  # fmt: skip
            stack.pop_all()
            return lock, running
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

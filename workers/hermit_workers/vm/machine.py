"""Starts one build's machine, with its own libvirtd and its own wire, and takes all of it away again."""

# docs/lifecycle.md has its states, and what each failure does.

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from hermit_workers.cell import CellError
from hermit_workers.leaving import leave_all
from hermit_workers.locks import alone
from hermit_workers.vm.bounds import bounds_of
from hermit_workers.vm.domain import Domain, Tap, UserNetwork, domain_xml
from hermit_workers.vm.events import GUEST_ENDED, Events
from hermit_workers.vm.layout import PATH, find_programs
from hermit_workers.vm.libvirtd import Libvirtd
from hermit_workers.vm.link import Link, sweep
from hermit_workers.waiting import to_the_end

PROXY_PORT, AGENT_PORT = 3128, 9989
_PORTS = (PROXY_PORT, AGENT_PORT)
# Of all builds of this machine: it tells a sweep which links are nobody's.
_LINKS = Path("/run/hermit/links")
# The folder of each machine's sockets.
PLACE = "vm-"
# A wire that was cut, or a guest whose kernel stands still, says nothing for ever: after two minutes it has gone.
_ALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 6}
_SETTLED = 15.0
_TOLD = 1500
_READ = 1 << 16
_PANIC = re.compile(r".{0,100}Kernel panic.{0,200}")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\n]")


def thd_sweep(sockets: Path) -> list[str]:
    """Remove the folders of machines whose Hermit was killed, which kept them locked; give their names.

    Nobody makes one meanwhile. What cannot be removed stays for the next sweep.
    """
    found = []
    with contextlib.suppress(FileNotFoundError), alone(sockets):
        for folder in sorted(sockets.glob(f"{PLACE}*")):
            with contextlib.suppress(OSError):  # its own Hermit removes it, or holds the lock
                held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
                    found.append(folder.name)
                finally:
                    os.close(held)
    return found


class Machine:
    """Is one machine. States: running -> stopped; `over` is done as soon as it has ended, however that came.

    `proxy` and `agent` are the listening sockets on its wire; nothing else is there. They are the caller's to close.
    `exceeded` is the sentence of the limit that ended it, if one did.
    """

    def __init__(self, daemon: Libvirtd, link: Link | None, console: Path) -> None:
        """Take what `start` made."""
        self._daemon = daemon
        self._link = link
        self._console = console
        self._events: Events | None = None
        self._how = ""
        self.over: asyncio.Task[None] | None = None
        self.exceeded: str | None = None
        self.proxy: socket.socket
        self.agent: socket.socket

    @classmethod
    async def start(cls, domain: Domain, place: Path, files: Path, binds: Mapping[str, Path], cache: Path) -> Self:
        """Start the machine that `domain` describes but for its link; raise CellError with what is missing.

        `place` is a short path for libvirt's sockets, which is made and goes with the machine. `binds` are folders that
        QEMU sees below `place` under these names, whoever may enter them elsewhere; the domain's paths are those.
        `files` is where its console's log is on the host.
        """
        bounds = bounds_of(domain, await asyncio.to_thread(_thd_largest, domain, place, binds))
        link = None
        if os.geteuid() == 0:
            await sweep(_LINKS)
            link = await _opened()
        try:
            daemon = await Libvirtd.start(
                place,
                cache=cache,
                ports=() if link is not None else _PORTS,
                binds=binds,
                bounds=bounds,
                namespace=link.namespace if link is not None else None,
            )
        except BaseException:
            if link is not None:
                await to_the_end(link.close())
            raise
        made = cls(daemon, link, files / domain.console.name)
        try:
            await made._start(domain, files)
        except BaseException:
            await to_the_end(made.stop())
            made._close_listeners()
            raise
        return made

    async def _start(self, domain: Domain, files: Path) -> None:
        # It is listened for before the machine is there, so that its end cannot come before.
        self._events = Events(await self._client("event", "--loop", "--event", "lifecycle", heard=True))
        wire = Tap(self._link.tap) if self._link is not None else UserNetwork()
        await asyncio.to_thread((files / "xml").write_text, domain_xml(replace(domain, link=wire)))
        await self._virsh("create", "--paused", str(files / "xml"))
        # What the guest says before its wire is there would be lost.
        self.proxy, self.agent = await self._link.wire() if self._link is not None else self._daemon.listeners
        self.agent.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # of all that it accepts
        for option, value in _ALIVE.items():
            self.agent.setsockopt(socket.IPPROTO_TCP, option, value)
        await self._virsh("resume", domain.name)
        await self._events.listening()
        self.over = asyncio.create_task(self._until_over(self._events))
        if self._daemon.held is not None:
            self._daemon.held.watch(files, self._on_exceeded)

    def _on_exceeded(self, sentence: str) -> None:
        self.exceeded = self.exceeded or sentence
        self._daemon.end()

    async def _until_over(self, events: Events) -> None:
        died, held = self._daemon.died, self._daemon.held
        await asyncio.wait({events.over, died}, return_when=asyncio.FIRST_COMPLETED)
        if not died.done() and not events.over.result():
            await asyncio.wait([died], timeout=_SETTLED)  # who listens loses a libvirtd before its parent knows
        self.exceeded = self.exceeded or (held.exceeded() if held is not None else None)
        heard = events.over.result() if events.over.done() else ""
        self._how = self._how or heard or _how(killed=died.done())

    async def stop(self) -> None:
        """End it, and leave no process, tap, namespace or socket of it; doing it twice is safe."""
        self._how = self._how or "Hermit has ended it"
        await leave_all(self._stop_events, self._daemon.stop, self._wait_over, self._close_link)

    async def _stop_events(self) -> None:
        if self._events is not None:
            await self._events.stop()

    async def _wait_over(self) -> None:
        if self.over is not None:
            await asyncio.wait([self.over])

    async def _close_link(self) -> None:
        if self._link is not None:
            await self._link.close()

    def _close_listeners(self) -> None:
        for name in ("proxy", "agent"):
            if (listener := getattr(self, name, None)) is not None:
                listener.close()

    def told(self) -> str:
        """Say for people how it ended and what its console says, as the end of a sentence that begins with `the VM`."""
        words, how = self.last_words(), self.exceeded or self._how
        console = f"its console says at the end:\n{words}" if words else "its console is silent"
        return f": {how}; {console}" if how else f"; {console}"

    def last_words(self) -> str:
        """Give the end of what it said on its console, in letters that no terminal obeys; nothing where it is silent.

        virtlogd begins another file where a guest fills one; the end is always in this one.
        """
        try:
            with self._console.open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - _READ, 0))
                said = file.read(_READ)
        except OSError:
            return ""
        text = _CONTROL.sub("", said.decode(errors="replace"))
        end = text[-_TOLD:].strip()
        # A kernel that panics says why first, and then at length where.
        panics = [line for line in _PANIC.findall(text) if line not in end]
        return f"{panics[-1]}\n(...)\n{end}" if panics else end

    @property
    def hint(self) -> str:
        """Say what to look at after its end: the image where the guest ended it, else this machine."""
        return "hermit image verify" if self._how == GUEST_ENDED else "hermit doctor"

    async def _virsh(self, *words: str) -> None:
        running = await self._client(*words)
        try:
            _, said = await running.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            raise
        if running.returncode:
            why = said.decode(errors="replace").strip()
            raise CellError(f"libvirt does not {words[0]} the VM: {why}", hint="hermit doctor")

    async def _client(self, *words: str, heard: bool = False) -> asyncio.subprocess.Process:
        quiet = asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(
            find_programs().client, "--quiet", "--connect", self._daemon.uri, *words,
            stdin=quiet, stdout=asyncio.subprocess.PIPE if heard else quiet,
            stderr=quiet if heard else asyncio.subprocess.PIPE,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip


async def _opened() -> Link:
    """Open a link, and leave none where that is given up: the thread that makes it cannot be stopped."""
    opening = asyncio.ensure_future(Link.open(_LINKS, _PORTS))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await to_the_end(_close(opening))
        raise


async def _close(opening: asyncio.Future[Link]) -> None:
    with contextlib.suppress(CellError):  # it has left nothing then
        await (await opening).close()


def _how(*, killed: bool) -> str:
    if killed:
        return "the libvirtd that runs it was killed, or has ended"
    return "nobody hears of it any more (virsh event was killed)"


def _thd_largest(domain: Domain, place: Path, binds: Mapping[str, Path]) -> int:
    """Give the size of the largest disk that the machine writes to, 0 where there is none yet."""
    sizes = [0]
    for disk in domain.disks:
        if disk.writable:
            places = (source / disk.path.name for name, source in binds.items() if disk.path.parent == place / name)
            with contextlib.suppress(FileNotFoundError):
                sizes.append(next(places, disk.path).stat().st_size)
    return max(sizes)

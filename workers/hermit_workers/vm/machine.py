"""Starts one build's machine, with its own libvirtd and its own wire, and takes all of it away again."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from hermit_workers.cell import CellError
from hermit_workers.vm.domain import Domain, Tap, UserNetwork, domain_xml
from hermit_workers.vm.layout import PATH, find_programs
from hermit_workers.vm.libvirtd import Libvirtd
from hermit_workers.vm.link import Link, sweep

PROXY_PORT, AGENT_PORT = 3128, 9989
_PORTS = (PROXY_PORT, AGENT_PORT)
# Of all builds of this machine: it tells a sweep which links are nobody's.
_LINKS = Path("/run/hermit/links")
# The folder of each machine's sockets.
PLACE = "vm-"
_FRESH = 600.0
_TOLD = 1500
_READ = 1 << 16
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\n]")


def thd_sweep(sockets: Path) -> list[str]:
    """Remove the folders of machines whose Hermit was killed, which kept them locked; give their names.

    A fresh one may be about to be locked, and stays.
    """
    found = []
    for folder in sorted(sockets.glob(f"{PLACE}*")):
        with contextlib.suppress(OSError):  # its own Hermit removes it, or holds the lock
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(held).st_mtime > _FRESH:
                    shutil.rmtree(folder)
                    found.append(folder.name)
            finally:
                os.close(held)
    return found


class Machine:
    """Is one machine. States: running -> stopped; `over` is done as soon as it has ended, however that came.

    `proxy` and `agent` are the listening sockets on its wire; nothing else is there. They are the caller's to close.
    """

    def __init__(self, daemon: Libvirtd, link: Link | None, console: Path) -> None:
        """Take what `start` made."""
        self._daemon = daemon
        self._link = link
        self._console = console
        self._watching: asyncio.subprocess.Process | None = None
        self.over: asyncio.Task[None] | None = None
        self.proxy: socket.socket
        self.agent: socket.socket

    @classmethod
    async def start(cls, domain: Domain, place: Path, files: Path, binds: Mapping[str, Path], cache: Path) -> Self:
        """Start the machine that `domain` describes but for its link; raise CellError with what is missing.

        `place` is a short path for libvirt's sockets, which is made and goes with the machine. `binds` are folders that
        QEMU sees below `place` under these names, whoever may enter them elsewhere; the domain's paths are those.
        `files` is where its console's log is on the host.
        """
        root = os.geteuid() == 0
        daemon = await Libvirtd.start(place, cache=cache, ports=() if root else _PORTS, binds=binds)
        made = cls(daemon, None, files / domain.console.name)
        try:
            await made._start(domain, files, root=root)
        except BaseException:
            await made.stop()
            raise
        return made

    async def _start(self, domain: Domain, files: Path, *, root: bool) -> None:
        if root:
            await sweep(_LINKS)
            self._link = await Link.open(_LINKS, _PORTS)
        wire = Tap(self._link.tap) if self._link is not None else UserNetwork()
        await asyncio.to_thread((files / "xml").write_text, domain_xml(replace(domain, link=wire)))
        await self._virsh("create", "--paused", str(files / "xml"))
        # What the guest says before its wire is there would be lost.
        listeners = await self._link.wire() if self._link is not None else self._daemon.listeners
        self.proxy, self.agent = listeners
        await self._virsh("resume", domain.name)
        # The first that is heard of a machine that runs is that it does not any more.
        self._watching = await self._client("event", "--domain", domain.name, "--event", "lifecycle")
        self.over = asyncio.create_task(self._until_over(self._watching))

    async def _until_over(self, watching: asyncio.subprocess.Process) -> None:
        event = asyncio.create_task(watching.wait())
        await asyncio.wait({event, self._daemon.died}, return_when=asyncio.FIRST_COMPLETED)
        if not event.done():
            watching.kill()
            await event

    async def stop(self) -> None:
        """End it, and leave no process, tap, namespace or socket of it; doing it twice is safe."""
        if self._watching is not None and self._watching.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._watching.kill()
        await self._daemon.stop()
        if self.over is not None:
            await asyncio.wait([self.over])
        if self._link is not None:
            await self._link.close()

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
        return _CONTROL.sub("", said.decode(errors="replace"))[-_TOLD:].strip()

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

    async def _client(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            find_programs().client, "--quiet", "--connect", self._daemon.uri, *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

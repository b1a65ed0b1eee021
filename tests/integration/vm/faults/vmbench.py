"""Takes one VM cell through its life for each fault, and says what has to hold afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from hermit_workers.cell import Command, Ended, Limits
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from tests.integration.faults import processes
from tests.integration.faults.buildbench import groups

CLOCK = 1_600_000_000
LIMITS = Limits(memory=512 << 20, disk=256 << 20)
_PATH = "/usr/bin:/bin"
_PATIENCE = 100.0
_PROGRAMS = {"QEMU": "guest=hermit-build", "libvirtd": "libvirtd.conf", "virtlogd": "virtlogd.conf"}


class VmBench:
    """Is one folder with VMs, one after the other."""

    def __init__(self, boots: Bootable, place: Path, cache: Path, links: Path) -> None:
        """Take what boots, a folder that QEMU may pass through, libvirt's cache and where the links' files are."""
        self.boots = boots
        self.place = place
        self._cache = cache
        self._links = links
        self.taps: set[str] = set()
        self._descriptors = len(os.listdir("/proc/self/fd"))
        self._namespaces = namespaces()
        # Servers that tests before this one have started, and others after it will use.
        self._others = processes.below(os.getpid())
        self.cell = self.another()

    def another(self, limits: Limits = LIMITS, folder: Path | None = None) -> VmCell:
        """Make the next cell."""
        places = Places(folder or self.place / "cell", self._cache, self.place)
        self.cell = VmCell(self.boots, limits, Shape("qemu", 1, CLOCK), places)
        return self.cell

    async def start(self) -> socket.socket:
        """Start the cell; its proxy's socket is closed by who calls."""
        listener = await self.cell.start()
        self.note()
        return listener

    def note(self) -> None:
        """Remember the taps that are there, to look for them later."""
        self.taps |= {path.name for path in self._links.glob("hv*")}

    async def sh(
        self, script: str, heard: Callable[[], object] | None = None, *, cell: VmCell | None = None
    ) -> tuple[Ended, str]:
        """Run a script as root; `heard` is called as soon as it has printed something."""
        with tempfile.TemporaryFile() as output:
            command = Command(("/bin/sh", "-c", script), {"PATH": _PATH}, PurePosixPath("/"), "root")
            running = asyncio.create_task((cell or self.cell).run(command, output=output.fileno()))
            try:
                if heard is not None:
                    await self.until("the step to print", lambda: os.fstat(output.fileno()).st_size or running.done())
                    heard()
                ended = await running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            output.seek(0)
            return ended, output.read().decode()

    async def until(self, what: str, true: Callable[[], object]) -> None:
        """Wait until something is true, and fail where it never is."""
        deadline = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < deadline, f"waited in vain: {what}"
            await asyncio.sleep(0.02)

    def console(self) -> str:
        """Give what the machine has said on its console."""
        with contextlib.suppress(OSError):
            return (self.place / "cell/console").read_text(errors="replace")
        return ""

    def find(self, victim: str) -> int | None:
        """Find one of the machine's processes by descent."""
        tree = processes.parents()
        outer = {pid for pid, above in tree.items() if above == os.getpid() and _is_born(pid)} - self._others
        first = {pid for pid, above in tree.items() if above in outer}
        if victim in {"holder", "first"}:
            return next(iter(outer if victim == "holder" else first), None)
        below = {pid for pid, above in tree.items() if above in first}
        # QEMU's parent is the first process, as soon as libvirtd has let go of it.
        below |= {pid for pid, above in tree.items() if above in below}
        word = _PROGRAMS[victim]
        found = [pid for pid in below if any(word in each for each in processes.argv(pid)[1:])]
        return next((pid for pid in found if processes.argv(pid)[0].endswith(_name(victim))), None)

    def hit(self, victim: str, number: signal.Signals) -> None:
        """Send a signal to a part that is there."""
        found = self.find(victim)
        assert found is not None, processes.told(processes.below(os.getpid()))
        self.note()
        assert self.taps
        os.kill(found, number)

    def check_nothing_left(self) -> None:
        """Fail where anything is left of any machine."""
        processes.bury(set())
        assert processes.told(processes.below(os.getpid()) - self._others) == ""
        assert sorted(path.name for path in self.place.iterdir()) == []
        assert list(self._links.iterdir() if self._links.exists() else ()) == []
        for tap in self.taps:
            assert not Path("/run/netns", tap).exists()
            assert not Path("/sys/class/net", tap).exists()
        mine = (str(self.place), *self.taps)
        assert not [line for line in mounts() if any(name in line for name in mine)]
        assert namespaces() == self._namespaces
        assert groups({os.getpid()}) == set()
        assert len(os.listdir("/proc/self/fd")) <= self._descriptors + 2  # the loops' own

    async def check_next(self) -> None:
        """Boot once more, without the fault, and fail unless it works and leaves nothing."""
        self.another()
        try:
            with await self.start():
                assert await self.sh("echo fine") == (Ended(0), "fine\n")
        finally:
            await self.cell.destroy()


def namespaces() -> set[str]:
    """Name the namespaces that this process and those below it are in."""
    found = set()
    for pid in (os.getpid(), *processes.below(os.getpid())):
        with contextlib.suppress(OSError):
            found |= {os.readlink(link) for link in Path(f"/proc/{pid}/ns").iterdir()}
    return found


def cut(tap: str) -> None:
    """Delete a tap in the network namespace that is named like it."""
    subprocess.run(["ip", "-netns", tap, "link", "delete", "dev", tap], check=True)


def mounts() -> list[str]:
    """Give the mounts that this process sees."""
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _is_born(pid: int) -> bool:
    return any("import born" in word for word in processes.argv(pid))


def _name(victim: str) -> str:
    return "qemu-system-x86_64" if victim == "QEMU" else victim

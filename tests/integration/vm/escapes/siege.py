"""Attacks from within two guests, once with the barriers and once with them opened, and keeps what came of it."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hermit_workers.cell import Command, Limits
from hermit_workers.cellfiles import CellFile, as_tar
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from hermit_workers.vm.guest import disks
from hermit_workers.vm.guest.initrd import make_boot
from hermit_workers.vm.sinks import Descriptor

CLOCK = 1_600_000_000
LIMITS = Limits(memory=256 << 20, disk=96 << 20)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS = PurePosixPath("/opt")
ATTACK = Path(__file__).with_name("attack.pl")
SHORT, LONG = 6, 60  # seconds: to wait for what should not come, and for what should
_AGENT = b"agent\n"
_OPEN = """
nft flush ruleset
cd /proc/sys/net/ipv4
echo 0 >icmp_echo_ignore_all; echo 0 >icmp_echo_ignore_broadcasts; echo 0 >icmp_ratelimit
for place in all "$1"; do
    echo 0 >conf/$place/arp_ignore; echo 0 >conf/$place/rp_filter
    echo 1 >conf/$place/route_localnet; echo 1 >conf/$place/accept_source_route
done
cd ../ipv6/conf
for place in all default "$1"; do echo 0 >$place/accept_dad; echo 0 >$place/disable_ipv6; done
ip link set lo up
tap=$1; shift
ip route add 10.0.2.0/24 dev "$tap" src 10.0.2.2
ip route add broadcast 10.0.2.255 dev "$tap" table local src 10.0.2.2 2>/dev/null || true
for address; do case $address in
    *:*) ip address add "$address/64" dev "$tap" nodad ;;
    *) ip address add "$address/32" dev lo ;;
esac; done
"""


@dataclass(slots=True)
class Found:
    """Is what came of everything: attempts by name, behind the barriers, with them opened, and straight on the host."""

    closed: dict[str, str] = field(default_factory=dict)
    opened: dict[str, str] = field(default_factory=dict)
    host: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Guest:
    """Is a machine with the attacker's tools, and what waits at the other end of its wire."""

    def __init__(self, name: str, image: Bootable, place: Path, cache: Path) -> None:
        """Begin with nothing."""
        self.name = name
        self.place = place
        self.cell = VmCell(image, LIMITS, Shape("qemu", 1, CLOCK), Places(place / name, cache, place))
        self.agents: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.greeted = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    async def start(self, files: Sequence[CellFile]) -> None:
        """Boot it, and put files in."""
        self._listener = await self.cell.start()
        self._do(self._serve(self._listener))
        with as_tar([*files, CellFile(TOOLS / "attack.pl", ATTACK.read_bytes())], CLOCK) as archive:
            await self.cell.put(archive.fileno())

    async def end(self) -> None:
        """Leave nothing of it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        await self.cell.destroy()

    @property
    def tap(self) -> str:
        """Give the name of its tap, which is its namespace's as well."""
        link = self.cell._machine._link  # type: ignore[union-attr]  # it has started
        assert link is not None
        return link.tap

    @property
    def namespace(self) -> Path:
        """Give the namespace of its wire."""
        return Path("/run/netns", self.tap)

    async def sh(self, script: str) -> str:
        """Run a shell as root with every right that there is, which no build's step has; give its words."""
        return await self.run(["/bin/sh", "-c", script])

    async def run(self, argv: Sequence[str], given: str = "") -> str:
        """Run a command so."""
        agent = self.cell._agent
        assert agent is not None
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as stdin:
            stdin.write(given.encode())
            stdin.seek(0)
            command = Command(tuple(argv), {"PATH": PATH, "LC_ALL": "C"}, PurePosixPath("/"), "root")
            await agent.run(command, list(argv), Descriptor(output.fileno()), stdin=stdin.fileno())
            output.seek(0)
            return output.read().decode(errors="replace")

    async def attack(self, given: str, seconds: int) -> dict[str, str]:
        """Make attempts, all at once."""
        return told(await self.run(["perl", str(TOOLS / "attack.pl"), str(seconds)], given))

    async def attempt(self, kind: str, *arguments: object, seconds: int = LONG) -> str:
        """Make one attempt."""
        found = await self.attack("\t".join(["one", kind, *map(str, arguments)]) + "\n", seconds)
        return found["one"]

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            self._do(self._greet(connection))

    async def _greet(self, connection: socket.socket) -> None:
        """Be a proxy that says whose it is; or leave the connection to who speaks with liars."""
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        with suppress(OSError):
            if await loop.sock_recv(connection, len(_AGENT)) == _AGENT:
                self.agents.put_nowait(connection)
                return
            self.greeted += 1
            await loop.sock_sendall(connection, f"proxy {self.name}\n".encode())
        connection.close()


def told(said: str) -> dict[str, str]:
    """Read what attack.pl prints."""
    return dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)


def host_attack(given: str, seconds: int = LONG) -> dict[str, str]:
    """Make attempts straight on the host."""
    words = ["perl", str(ATTACK), str(seconds)]
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=True, env={"LC_ALL": "C"})
    return told(done.stdout)


def own_addresses() -> list[str]:
    """Give the addresses of the machine that others may use."""
    said = subprocess.run(["ip", "-oneline", "address"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r" inet6? ([0-9a-f.:]+)/", said)
    return sorted({one for one in found if not one.startswith(("127.", "fe80:")) and one != "::1"})


def name_servers() -> list[str]:
    """Give the name servers that the machine asks."""
    return re.findall(r"^nameserver ([0-9.]+)$", Path("/etc/resolv.conf").read_text(), re.MULTILINE)


def open_wire(namespace: Path, tap: str, addresses: Sequence[str]) -> None:
    """Take every barrier of a build's wire away, and have others' addresses at its end."""
    words = ["nsenter", f"--net={namespace}", "sh", "-euc", _OPEN, "sh", tap, *addresses]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": PATH})
    assert done.returncode == 0, done.stderr


def bootable(image: Path, folder: Path) -> Bootable:
    """Make what boots."""
    made = make_boot(image / "root")
    folder.mkdir(mode=0o755)
    for name, content in (("kernel", made.kernel), ("initrd", made.initrd)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o444)
    size = sum(path.lstat().st_size for path in (image / "root").rglob("*"))
    asyncio.run(disks.make_image_disk(image, size, CLOCK, folder / "image"))
    return Bootable(folder)

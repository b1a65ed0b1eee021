"""Runs builds' commands in a real guest through the cell that a build has, and looks for what is left."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cell import CellError, Command, Ended, Limits, User
from hermit_workers.sandbox.artifacts.taking import ArtifactError
from hermit_workers.vm.boot import make_bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from tests.integration.faults import processes
from tests.support import bootimage
from tests.unit.workers.vm.conftest import OtherUser

pytestmark = [pytest.mark.long, pytest.mark.registry, pytest.mark.timeout(290)]

CLOCK = 1_600_000_000
LIMITS = Limits(memory=512 << 20, disk=256 << 20)
PATH = "/usr/bin:/bin"
ASKS = 'use IO::Socket; my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:3128") or die "none: $!\\n"; '
ASKS += 'print $s "question"; shutdown $s, 1; print <$s>'
SEES = "id -u; grep -E '^CapPrm' /proc/self/status; cat /etc/image; echo; date -u +%s; hostname; "
SEES += "ls -A /run /; umask; ulimit -n"


class Guest:
    """Is a started cell and what answers in the proxy's place."""

    def __init__(self, cell: VmCell) -> None:
        self.cell = cell

    async def sh(self, script: str, user: User = "build", folder: str = "/build") -> tuple[Ended, str]:
        with tempfile.TemporaryFile() as output:
            command = Command(("/bin/sh", "-c", script), {"PATH": PATH}, PurePosixPath(folder), user)
            ended = await self.cell.run(command, output=output.fileno())
            output.seek(0)
            return ended, output.read().decode()


@asynccontextmanager
async def guest(image: Path, place: Path, limits: Limits = LIMITS) -> AsyncIterator[Guest]:
    boots = await make_bootable(image, "sha256:test", bootimage.size(image), CLOCK, image / "boot")
    cell = VmCell(boots, limits, Shape("qemu", 1, CLOCK), Places(place / "cell", image / "cache", place))
    try:
        listener = await cell.start()
        answering = asyncio.create_task(_answer(listener))
        yield Guest(cell)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        listener.close()
    finally:
        await cell.destroy()


async def _answer(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            await loop.sock_sendall(connection, b"heard " + await loop.sock_recv(connection, 100))


def put_tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, mode in (
            ("build/p/dist/sub/run", b"#!/bin/sh\n", 0o755), ("build/p/dist/big", os.urandom(3 << 20), 0o644),
            ("build/p/dist/none", b"", 0o600), ("etc/secret", b"root's", 0o600),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), mode, CLOCK
            info.uid = info.gid = 1000 if name.startswith("build") else 0
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def left(place: Path) -> list[str]:
    """Name what is left of a machine."""
    found = [entry for entry in os.listdir(place) if entry != "l"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(place) in words:
            found.append(words)
    return found


def test_a_guest_runs_what_a_build_runs_and_nothing_of_it_is_left(image: Path, place: Path) -> None:
    archive = put_tar()

    async def scenario() -> None:
        async with guest(image, place) as made:
            ended, said = await made.sh(SEES, "root", "/")
            assert ended == Ended(0), said
            uid, rights, name, clock, host, *rest = said.splitlines()
            assert (uid, rights.split()[-1], name, host) == ("0", "00000000800400fb", "the image", "hermit")
            assert 0 <= int(clock) - CLOCK < 280
            assert not {"busybox", "init2", "hermit-agent", "lost+found"} & set(rest)
            assert rest[-2:] == ["0022", "1024"]
            assert await made.sh(f"perl -e '{ASKS}'") == (Ended(0), "heard question")
            with tempfile.TemporaryFile() as file:
                file.write(archive)
                file.seek(0)
                await made.cell.put(file.fileno())
            ended, said = await made.sh("id -u; cat /etc/secret; stat -c '%u %a %Y' dist/sub/run", folder="/build/p")
            assert said.splitlines()[0] == "1000"
            assert "ermission denied" in said
            assert said.splitlines()[-1] == f"1000 755 {CLOCK}"
            ended, said = await made.sh("sleep 1000 & kill -9 1; ln -s run dist/sub/link; exit 7", "root", "/build/p")
            assert ended == Ended(7), said
            await made.cell.stop()
            taken = await made.cell.take(PurePosixPath("/build/p"), ["dist/big", "dist/n*", "dist/sub/run"])
            found = {}
            for one in taken:
                found[str(one.path)] = (os.pread(one.descriptor, 8 << 20, 0), one.executable)
                os.close(one.descriptor)
            with tarfile.open(fileobj=io.BytesIO(archive)) as sent:
                for path, (content, executable) in found.items():
                    member = sent.getmember(f"build/p/{path}")
                    assert hashlib.sha256(content).digest() == hashlib.sha256(_content(sent, member)).digest()
                    assert executable == bool(member.mode & stat.S_IXUSR)
            assert sorted(found) == ["dist/big", "dist/none", "dist/sub/run"]
            with pytest.raises(ArtifactError, match="it is a symbolic link"):
                await made.cell.take(PurePosixPath("/build/p"), ["dist/sub/"])

    asyncio.run(scenario())
    assert left(place) == []


# Root of a step ends the forwarder, which is the other process with the agent's command line.
ENDS = """
cd /proc
for line in $(grep -ls 'agent[.]pl' [0-9]*/cmdline); do
    if [ $line != 1/cmdline ]; then kill -9 ${line%/*}; fi
done
"""
# Prints what is answered to four sockets: IPv4's, an IPv6 one as Java has it, and both bound to the loopback.
TALKS = r"""
my $v4 = pack "S n C4 x8", 2, 3128, 127, 0, 0, 1;
my $v6 = pack "S n x4 x10 n C4 x4", 10, 3128, 65535, 127, 0, 0, 1;
for my $bound (0, 1) {
    for my $to ($v4, $v6) {
        my $own = $to;
        substr($own, 2, 2) = "\0\0";
        socket my $s, unpack("S", $to), 1, 0 or die;
        !$bound || bind $s, $own or die;
        connect $s, $to or print "$!\n" and next;
        syswrite $s, "x";
        sysread $s, my $answer, 100;
        print $answer, getpeername $s eq $to ? "\n" : " from elsewhere\n";
    }
}
"""


def test_the_guests_kernel_carries_to_the_proxy_without_the_forwarder(image: Path, place: Path) -> None:
    async def scenario() -> None:
        async with guest(image, place) as made:
            assert await made.sh(f"perl -e '{TALKS}'") == (Ended(0), "heard x\n" * 4)
            assert await made.sh("ls /proc/self/fd", "root", "/") == (Ended(0), "0\n1\n2\n3\n")  # 3 is that folder
            assert await made.sh(ENDS, "root", "/") == (Ended(0), "")
            refused = "Connection refused\n"
            assert await made.sh(f"perl -e '{TALKS}'") == (Ended(0), "heard x\n" * 2 + refused * 2)

    asyncio.run(scenario())


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def shared(process: int) -> list[str]:
    """Name the namespaces that a process shares with us."""
    kinds = ("net", "ipc", "pid", "mnt")
    return [kind for kind in kinds if os.path.samefile(f"/proc/{process}/ns/{kind}", f"/proc/self/ns/{kind}")]


def interfaces(process: int) -> set[str]:
    lines = Path(f"/proc/{process}/net/dev").read_text().splitlines()[2:]
    return {line.partition(":")[0].strip() for line in lines}


def test_the_process_that_runs_a_guest_has_none_of_the_hosts_namespaces(image: Path, place: Path) -> None:
    async def scenario() -> None:
        async with guest(image, place) as running:
            machine = running.cell._machine
            assert machine is not None
            assert machine._link is not None
            below = processes.below(machine._daemon._running.pid)
            (emulator,) = (pid for pid in below if "qemu-system" in processes.argv(pid)[0])
            assert shared(emulator) == []
            assert interfaces(emulator) == {"lo", machine._link.tap}

    asyncio.run(scenario())


def test_a_guest_that_dies_in_a_step_is_told_with_its_console_and_nothing_is_left(image: Path, place: Path) -> None:
    async def scenario() -> None:
        async with guest(image, place) as made:
            with pytest.raises(CellError, match=r"(?s)ended in the middle of a build.*Kernel Offset"):
                await made.sh("echo c >/proc/sysrq-trigger; sleep 100", "root", "/")

    asyncio.run(scenario())
    assert left(place) == []


# Root of a step, and as many processes as it likes; none of them says that it could not have more.
BOMB = "f() { f | f & }; f; sleep 60"
# Piece by piece: what is too much at once is refused, and the program's own affair.
EATS = """perl -e 'push @x, "x" x (1 << 20) while 1'"""


@pytest.mark.parametrize(
    ("script", "user", "told"),
    [
        (EATS, "build", "memory: the build needs more than 512 MiB (limits: memory)"),
        (BOMB, "root", "processes: the build wants more than 200 (limits: processes)"),
    ],
)
def test_a_limit_that_the_guests_kernel_keeps_is_told_and_the_files_can_be_taken(
    image: Path, place: Path, script: str, user: User, told: str
) -> None:
    async def scenario() -> None:
        async with guest(image, place, replace(LIMITS, processes=200)) as made:
            ended, said = await made.sh("ls /run; cat /proc/self/cgroup; echo made >artifact", "root")
            assert (ended, said) == (Ended(0), "0::/build\n")
            ended, _ = await made.sh(script, user)
            assert ended == Ended(137, told)
            await made.cell.stop()
            (taken,) = await made.cell.take(PurePosixPath("/build"), ["artifact"])
            assert os.read(taken.descriptor, 10) == b"made\n"
            os.close(taken.descriptor)

    asyncio.run(scenario())
    assert left(place) == []


# What the user's own process does; everything that it needs is in its folder.
AS_USER = r"""
import asyncio, os, sys
from pathlib import Path, PurePosixPath
from hermit_workers.cell import Command, Limits
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
folder = Path(sys.argv[1])
async def main():
    shape, places = Shape("qemu", 1, 1_600_000_000), Places(folder / "cell", folder / "cache", folder)
    cell = VmCell(Bootable(folder / "boot"), Limits(memory=512 << 20, disk=256 << 20), shape, places)
    try:
        with await cell.start():
            command = Command(("/bin/sh", "-c", "id -u; exit 5"), {"PATH": "/usr/bin:/bin"}, PurePosixPath("/"))
            print((await cell.run(command, output=1)).status, flush=True)
    finally:
        await cell.destroy()
    print(sorted(os.listdir(folder)))
asyncio.run(main())
"""


def test_who_is_not_root_has_the_same_cell(image: Path, place: Path, other: OtherUser) -> None:
    boots = asyncio.run(make_bootable(image, "sha256:test", bootimage.size(image), CLOCK, image / "boot"))
    shutil.copytree(boots.folder, other.folder / "boot")
    command = [*other.prefix, sys.executable, "-c", AS_USER, str(other.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=other.folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1000\n5\n['boot', 'cache']\n"
    assert left(place) == []

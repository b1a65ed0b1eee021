"""Boots real guests, as a cell will: own libvirtd, own wire, disks in, a tar out, and nothing left."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cellfiles import CellFile, as_tar
from hermit_workers.vm import kvm
from hermit_workers.vm.domain import Disk, Domain, Tap, domain_xml
from hermit_workers.vm.guest import disks
from hermit_workers.vm.guest.initrd import make_boot
from hermit_workers.vm.layout import qemu_ids
from hermit_workers.vm.libvirtd import Libvirtd
from hermit_workers.vm.link import Link
from tests.integration.vm.conftest import give

pytestmark = [pytest.mark.long, pytest.mark.registry, pytest.mark.timeout(280)]

CLOCK = 1_600_000_000
SCRATCH = 128 << 20
MOST_SECONDS = 120
TELLS = """#!/bin/sh
bb=/bin/busybox
$bb echo "clock $($bb date -u +%s)"
$bb echo "user $($bb id -u)"
$bb echo "image $($bb cat /etc/image)"
$bb echo "secret $($bb cat /run/hermit/secret)"
$bb echo "hostname $($bb hostname)"
$bb echo "processor $($bb grep -m 1 'model name' /proc/cpuinfo)"
for port in 3128 9989 8000; do
    if $bb nc -w 3 10.0.2.2 $port </dev/null >/dev/null 2>&1; then word=open; else word=closed; fi
    $bb echo "port $port $word"
done
if $bb ping -c 1 -W 2 10.0.2.2 >/dev/null; then $bb echo "ping answered"; else $bb echo "ping silent"; fi
$bb echo changed >/etc/image
$bb mkdir -p /run/hermit/out/dist
$bb echo made >/run/hermit/out/dist/artifact
"""
FILLS = """#!/bin/sh
/bin/busybox dd if=/dev/zero of=/build/full bs=1M count=1000 2>&1
"""
PANICS = "#!/bin/sh\necho c >/proc/sysrq-trigger\n"


@dataclass(frozen=True, slots=True)
class Ran:
    """Is what one guest did: what it said, and its disks."""

    said: str
    folder: Path

    def told(self, word: str) -> str | None:
        found = re.search(rf"^{word} (.*?)\r?$", self.said, re.MULTILINE)
        return found and found[1]

    @property
    def phases(self) -> list[str]:
        return re.findall(r"hermit: [0-9.]+ ([^\r\n]+)", self.said)


@asynccontextmanager
async def host(image: Path, place: Path) -> AsyncIterator[Libvirtd]:
    boot = make_boot(image / "root")
    for name, content in (("kernel", boot.kernel), ("initrd", boot.initrd)):
        (place / name).write_bytes(content)
        (place / name).chmod(0o444)
    size = sum(path.lstat().st_size for path in (image / "root").rglob("*"))
    await disks.make_image_disk(image, size, CLOCK, place / "image")
    daemon = await Libvirtd.start(place / "l", cache=image / "cache")
    try:
        yield daemon
    finally:
        await daemon.stop()


async def virsh(daemon: Libvirtd, *words: str) -> str:
    command = ["virsh", "--quiet", "--connect", daemon.uri, *words]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def boot(daemon: Libvirtd, place: Path, start: str, *, looked_at: list[str] | None = None) -> Ran:
    """Run one guest to its end; `looked_at` gets QEMU's command line."""
    folder = place / "g"
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    await disks.make_scratch_disk(SCRATCH, folder / "scratch")
    files = [CellFile(PurePosixPath("/run/hermit/start"), start.encode(), 0o755)]
    files.append(CellFile(PurePosixPath("/run/hermit/secret"), b"s3cret", 0o600))
    with as_tar(files, CLOCK) as archive:
        disks.make_data_disk(archive, folder / "data")
    disks.make_out_disk(1 << 20, folder / "out")
    for name in ("scratch", "data", "out"):
        give(folder / name)
    link = await Link.open(place / "links", (3128, 9989))
    domain = Domain(
        name="hermit-00000001", kind="qemu", memory=256 << 20, processors=1,
        kernel=place / "kernel", initrd=place / "initrd", console=folder / "console", clock=CLOCK,
        disks=(
            Disk(place / "image", disks.IMAGE), Disk(folder / "scratch", disks.SCRATCH, writable=True),
            Disk(folder / "data", disks.DATA), Disk(folder / "out", disks.OUT, writable=True),
        ),
        link=Tap(link.tap), arguments=(f"hermit.clock={CLOCK}",), runs_as=qemu_ids(),
    )  # fmt: skip
    (folder / "xml").write_text(domain_xml(domain))
    listeners: list[socket.socket] = []
    answering: list[asyncio.Task[None]] = []
    try:
        await virsh(daemon, "create", "--paused", str(folder / "xml"))
        listeners = await link.wire()
        answering += [asyncio.create_task(_answer(listener)) for listener in listeners]
        await virsh(daemon, "resume", domain.name)
        if looked_at is not None:
            looked_at += _command_lines(domain.name)
        end = time.monotonic() + MOST_SECONDS
        while domain.name in await virsh(daemon, "list", "--name"):
            assert time.monotonic() < end, (folder / "console").read_text(errors="replace")
            await asyncio.sleep(0.1)
    finally:
        for one in answering:
            one.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        for listener in listeners:
            listener.close()
        await link.close()
    return Ran((folder / "console").read_text(errors="replace"), folder)


async def _answer(listener: socket.socket) -> None:
    while True:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        connection.close()


def _command_lines(name: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "qemu-system" in words[0] and f"guest={name},debug-threads=on" in words:
                found.append(" ".join([*words, f"uid={process.stat().st_uid}"]))
        except OSError:
            continue
    return found


def test_a_guest_boots_sees_its_build_reaches_two_sockets_and_gives_a_tar(image: Path, place: Path) -> None:
    async def scenario() -> tuple[Ran, list[str]]:
        lines: list[str] = []
        async with host(image, place) as daemon:
            return await boot(daemon, place, TELLS, looked_at=lines), lines

    ran, lines = asyncio.run(scenario())
    assert ran.phases == ["kernel", "modules", "root", "data", "ready", "ended 0", "packed"], ran.said
    assert 0 <= int(str(ran.told("clock"))) - CLOCK < MOST_SECONDS
    assert {word: ran.told(word) for word in ("user", "image", "secret", "hostname", "ping")} == {
        "user": "0", "image": "the image", "secret": "s3cret", "hostname": "hermit", "ping": "silent",
    }  # fmt: skip
    assert [ran.told(f"port {port}") for port in (3128, 9989, 8000)] == ["open", "open", "closed"]
    assert "Westmere" in str(ran.told("processor"))
    with tarfile.open(ran.folder / "out", "r:") as packed:
        assert sorted(packed.getnames()) == [".", "./dist", "./dist/artifact"]
    (line,) = lines
    assert "-sandbox on," in line
    assert f"uid={qemu_ids()[0]}" in line
    assert "s3cret" not in line
    assert "the image" == (image / "root/etc/image").read_text()  # noqa: SIM300  as it was
    for name in ("image", "kernel", "initrd"):
        status = (place / name).stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.getuid(), 0o444)


def test_a_guest_that_fills_its_disk_fills_no_more_than_its_own(image: Path, place: Path) -> None:
    async def scenario() -> Ran:
        async with host(image, place) as daemon:
            return await boot(daemon, place, FILLS)

    ran = asyncio.run(scenario())
    assert "No space left on device" in ran.said
    assert (ran.folder / "scratch").stat().st_size == SCRATCH


def test_a_guest_whose_kernel_panics_is_gone_and_its_console_tells(image: Path, place: Path) -> None:
    async def scenario() -> Ran:
        async with host(image, place) as daemon:
            return await boot(daemon, place, PANICS)

    ran = asyncio.run(scenario())
    assert "Kernel panic" in ran.said
    assert "ended" not in " ".join(ran.phases)


def test_a_data_disk_that_is_none_ends_the_guest_with_a_reason(image: Path, place: Path) -> None:
    async def scenario() -> Ran:
        async with host(image, place) as daemon:
            return await boot(daemon, place, "#!/bin/nothing\n")

    ran = asyncio.run(scenario())
    assert ran.phases[-1] == "ended 127"


def test_the_kernel_says_its_word_under_emulation_and_kvm_is_judged_without_a_hang(image: Path, place: Path) -> None:
    made = make_boot(image / "root")
    (place / "kernel").write_bytes(made.kernel)
    (place / "initrd").write_bytes(made.initrd)

    async def scenario() -> None:
        program = "/usr/bin/qemu-system-x86_64"
        found = await kvm.probe(program, place / "kernel", place / "initrd", "qemu", seconds=MOST_SECONDS)
        assert found.reason == "the guest's kernel boots under emulation"
        verdict = await kvm.choose("auto", place / "kernel", place / "initrd", cache=place / "verdict")
        assert verdict.kind in {"kvm", "qemu"}
        assert await kvm.choose("auto", place / "kernel", place / "initrd", cache=place / "verdict") == verdict

    asyncio.run(scenario())

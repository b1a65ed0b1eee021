"""Boots a guest as an ordinary user: QEMU's own network in a namespace where there is nothing but two sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hermit_workers.vm.guest import disks
from hermit_workers.vm.guest.initrd import make_boot
from tests.unit.workers.vm.conftest import OtherUser

pytestmark = [pytest.mark.long, pytest.mark.registry, pytest.mark.timeout(280)]

# What the user's own process does; everything that it needs is in its folder.
BOOTS_ONE = r"""
import asyncio, subprocess, sys
from pathlib import Path, PurePosixPath
from hermit_workers.cellfiles import CellFile, as_tar
from hermit_workers.vm.domain import Disk, Domain, UserNetwork, domain_xml
from hermit_workers.vm.guest import disks
from hermit_workers.vm.libvirtd import Libvirtd
folder, start = Path(sys.argv[1]), sys.argv[2]
async def virsh(daemon, *words):
    command = ["virsh", "--quiet", "--connect", daemon.uri, *words]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout
async def answer(listener, word):
    while True:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        with connection:
            await asyncio.get_running_loop().sock_sendall(connection, word)
async def main():
    await disks.make_scratch_disk(128 << 20, folder / "scratch")
    with as_tar([CellFile(PurePosixPath("/run/hermit/start"), start.encode(), 0o755)], 0) as archive:
        disks.make_data_disk(archive, folder / "data")
    daemon = await Libvirtd.start(folder / "l", cache=folder / "c", ports=(3128, 9989))
    try:
        domain = Domain(
            name="hermit-1", kind="qemu", memory=256 << 20, processors=1, kernel=folder / "kernel",
            initrd=folder / "initrd", console=folder / "console", clock=1_600_000_000, link=UserNetwork(),
            disks=(Disk(folder / "image", disks.IMAGE), Disk(folder / "scratch", disks.SCRATCH, writable=True),
                   Disk(folder / "data", disks.DATA)),
        )
        (folder / "xml").write_text(domain_xml(domain))
        words = (b"proxy", b"master")
        answering = [asyncio.create_task(answer(*one)) for one in zip(daemon.listeners, words, strict=True)]
        await virsh(daemon, "create", str(folder / "xml"))
        while domain.name in await virsh(daemon, "list", "--name"):
            await asyncio.sleep(0.1)
        for one in answering:
            one.cancel()
    finally:
        await daemon.stop()
asyncio.run(main())
"""
START = """#!/bin/sh
bb=/bin/busybox
$bb ip route add default via 10.0.2.2
for port in 3128 9989 8000 22; do $bb echo "port $port $($bb nc -w 3 10.0.2.2 $port </dev/null 2>/dev/null)"; done
for host in {hosts}; do $bb echo "host $host $($bb nc -w 3 $host {port} </dev/null 2>/dev/null)"; done
$bb echo "name $($bb timeout 3 $bb nslookup example.org 10.0.2.3 2>&1 | $bb grep -c '^Address.*[0-9]$')"
"""


def _greet(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"the host")


def _greeting(address: str, port: int) -> bytes:
    with socket.create_connection((address, port), timeout=10) as asking:
        return asking.recv(100)


def test_a_users_guest_reaches_its_two_sockets_and_nothing_of_the_host(
    image: Path, place: Path, other: OtherUser
) -> None:
    boot = make_boot(image / "root")
    for name, content in (("kernel", boot.kernel), ("initrd", boot.initrd)):
        (other.folder / name).write_bytes(content)
        (other.folder / name).chmod(0o444)
    asyncio.run(disks.make_image_disk(image, 100 << 20, 1_600_000_000, place / "image"))
    shutil.move(place / "image", other.folder / "image")
    words = subprocess.run(["ip", "-oneline", "-4", "address"], capture_output=True, text=True, check=True).stdout
    hosts = re.findall(r" inet ([0-9.]+)", words)
    with socket.create_server(("", 0)) as server:
        threading.Thread(target=_greet, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        assert _greeting("127.0.0.1", port) == b"the host"  # it is there for others
        start = START.format(hosts=" ".join(hosts), port=port)
        command = [*other.prefix, sys.executable, "-c", BOOTS_ONE, str(other.folder), start]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        server.shutdown(socket.SHUT_RDWR)
    assert done.returncode == 0, done.stderr
    said = (other.folder / "console").read_text(errors="replace")
    told = re.findall(r"^(port|host|name) (.*?)\r?$", said, re.MULTILINE)
    ports = ["3128 proxy", "9989 master", "8000 ", "22 "]
    assert told == [*(("port", one) for one in ports), *(("host", f"{one} ") for one in hosts), ("name", "0")], said
    assert not (other.folder / "l").exists()
    assert (other.folder / "image").stat().st_uid == os.getuid()

"""Is the course of the siege: what is tried first, what after it, and what is looked at between."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hermit_workers.cell import CellError
from hermit_workers.cellfiles import CellFile
from tests.integration.vm.escapes import attempts, frames, ports
from tests.integration.vm.escapes.lying import hear_liars
from tests.integration.vm.escapes.siege import (
    LIMITS,
    LONG,
    SHORT,
    TOOLS,
    Found,
    Guest,
    bootable,
    host_attack,
    name_servers,
    open_wire,
)  # fmt: skip
from tests.integration.vm.escapes.victims import Cable, Capture, Victim
from tests.integration.vm.escapes.world import world

FLOOD = 5000
_STOPPED = 60
_IMAGE, _SCRATCH, _DATA = "/dev/vda", "/dev/vdb", "/dev/vdc"
_LATER = 2_000_000_000
_SETS_UP = """
bb=/bin/busybox
$bb mount -o remount,rw /sys
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
$bb ip -6 address add fd00:9::15/64 dev eth0
$bb ip -6 route add default dev eth0
$bb ip route add default via 10.0.2.2
$bb ip address add 10.0.2.17/24 dev eth0
$bb ip route add 10.0.2.16/32 dev eth0 src 10.0.2.17
for name in vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport vsock_loopback qemu_fw_cfg; do
    $bb insmod $(find /lib/modules -name "$name.ko*")
done
"""
_SERVES = r"""
/bin/busybox ip address add %s/24 dev eth0
perl -MSocket -e '
my $at = pack_sockaddr_in(%d, INADDR_ANY);
socket my $t, PF_INET, SOCK_STREAM, 0; bind $t, $at or die; listen $t, 9;
while (accept my $c, $t) { syswrite $c, "the neighbour" }
' </dev/null >/dev/null 2>&1 &
"""
_LOOKS = """
for device in /sys/bus/virtio/devices/*; do printf 'virtio %%s\\n' $(cat $device/device); done
for device in /sys/bus/pci/devices/*; do printf 'pci %%s\\n' $(cat $device/class); done
printf 'cmdline %%s\\n' "$(cat /proc/cmdline)"
cd /sys/class/dmi/id
printf 'dmi %%s\\n' "$(cat product_name) $(cat product_uuid) $(cat product_serial)"
cd /sys/firmware
cat dmi/tables/DMI acpi/tables/* qemu_fw_cfg/by_key/*/raw 2>/dev/null >/tmp/told
for word in %s; do printf 'told %%s %%s\\n' $word $(grep -a -c -F -e $word /tmp/told); done
printf 'environ %%s\\n' "$(cat -v /proc/1/environ)"
"""
_FILLS = "perl -e 'open F, q(>), q(/build/full) or die; $p = q(x) x (1 << 20); 1 while syswrite F, $p; print $!'; "
_FILLS += "stat -c ' %s' /build/full; ln -s nowhere /build/x 2>&1; perl -e 'unlink q(/build/full)'"


def besiege(image: Path, place: Path) -> Found:
    """Attack from two guests at once, and tell everything that came of it."""
    boots = bootable(image, place / "boot")
    found = Found()
    with world(place, found):
        one, other = (Guest(name, boots, place, image / "cache") for name in ("one", "other"))
        found.facts["image"] = [_digest(boots.folder / name) for name in ("image", "kernel", "initrd")]
        asyncio.run(_besiege(one, other, found))
        found.facts["image after"] = [_digest(boots.folder / name) for name in ("image", "kernel", "initrd")]
    return found


def fill_console(image: Path, place: Path) -> tuple[str, list[int]]:
    """Have a guest write to its console; give what it says, and the size of each file that came of it."""

    async def fill() -> str:
        guest = Guest("one", boots, place, image / "cache")
        try:
            await guest.start([])
            said = await guest.attempt("console", 3072, seconds=4 * LONG)
            sizes.extend(path.stat().st_size for path in (place / "one").glob("console*"))
            return said
        finally:
            await guest.end()

    sizes: list[int] = []
    boots = bootable(image, place / "boot")
    return asyncio.run(fill()), sizes


async def _besiege(one: Guest, other: Guest, found: Found) -> None:
    try:
        files = [
            CellFile(TOOLS / "ports", ports.program(), 0o755),
            CellFile(TOOLS / "authority.pem", found.facts["authority"].cert_pem),
        ]
        await asyncio.gather(one.start(files), other.start(files))
        found.facts["set up"] = await one.sh(_SETS_UP)
        found.facts["served"] = await other.sh(_SERVES % attempts.NEIGHBOUR)
        await _on_the_wire(one, other, found)
        await hear_liars(one, found)
        await _in_the_machine(one, other, found)
        await _with_open_barriers(one, other, found)
        await _to_the_end(one, other, found)
    finally:
        await asyncio.gather(one.end(), other.end())


async def _on_the_wire(one: Guest, other: Guest, found: Found) -> None:
    facts = found.facts
    mark = facts["secret"].encode()
    with (
        Capture(one.namespace, lambda _frame, ours: ours) as answers,
        Capture(other.namespace, lambda frame, _ours: mark in frame) as elsewhere,
        Capture(None, lambda frame, _ours: mark in frame) as outside,
        Capture(one.namespace, lambda frame, _ours: mark in frame) as there,
    ):
        names = {"vm-loopback-names": [("name", name, facts["port"]) for name in attempts.NAMES]}
        given = attempts.lines(facts["network"]) + attempts.lines(names) + _neighbours(facts["secret"])
        given += f"claim\tclaim\t{attempts.CARD}\t10.0.2.15\t10.0.2.2\t10.0.2.16\n"
        found.closed |= await one.attack(given, SHORT)
        found.closed["sweep"] = await one.attempt("sweep", attempts.HOST, 1, 65535, seconds=4 * LONG)
        before = [_received(guest) for guest in (one, other)]
        flooding = asyncio.create_task(one.attempt("flood", FLOOD))
        facts["beside a flood"] = await other.attempt("tcp", attempts.HOST, 3128)
        facts["flood"] = await flooding
        facts["flooded"] = [_received(guest) - count for guest, count in zip((one, other), before, strict=True)]
        facts["wires"] = [await guest.attempt("tcp", attempts.HOST, 3128) for guest in (one, other)]
    facts["answers"] = sorted({frames.summary(frame) for frame in answers.frames})
    facts["marked"] = {"own": len(there.frames), "other": len(elsewhere.frames), "host": len(outside.frames)}
    facts["entries"] = _entries(one)
    found.host |= host_attack(attempts.lines(names))


def _neighbours(mark: str) -> str:
    address, port = attempts.NEIGHBOUR
    tried = {"vm-neighbour-address": [("tcp", address, port)]}
    return attempts.lines(tried) + f"beacon\tbeacon\t{mark}\t3\n"


async def _in_the_machine(one: Guest, other: Guest, found: Found) -> None:
    facts = found.facts
    sockets = [*facts["sockets"], *(str(path) for path in one.place.rglob("*") if path.is_socket())]
    facts["named"] = sockets
    reach = {"vm-sockets": [("unix", path) for path in dict.fromkeys(sockets)], "vm-store": [("read", facts["kept"])]}
    key, cert = (text.splitlines()[1].decode() for text in (facts["authority"].key_pem, facts["authority"].cert_pem))
    places = ("/opt", "/dev", "/run", "/tmp", "/sys/firmware")  # noqa: S108  the guest's
    inner: attempts.Attempts = {
        "vsock": [("vsock", 2), ("vsock", 1)],
        "grep": [("grep", f"{key},{cert}", *places)],
        "mount": [("mount", kind, "share") for kind in ("9p", "virtiofs", "tmpfs")],
        "write": [
            ("write", _IMAGE, 4096, "escape"),
            ("write", _DATA, 0, "escape"),
            ("write", _SCRATCH, "end", "escape"),
            ("write", _SCRATCH, LIMITS.disk - 512, facts["secret"]),
        ],
        "ports": [("ports", TOOLS / "ports", orders.hex()) for orders in _orders()],
    }  # fmt: skip
    facts["disks"] = _sizes(one)
    found.closed |= await one.attack(attempts.lines(reach) + attempts.lines(inner), LONG)
    facts["scratch ends with"] = _file(one, "scratch").read_bytes()[-512:].rstrip(b"\0").decode(errors="replace")
    facts["looks"] = await one.sh(_LOOKS % " ".join((facts["secret"], str(one.place), "BOCHS")))
    facts["fills"] = await one.sh(_FILLS)
    facts["disks after"] = _sizes(one)
    found.host |= await asyncio.to_thread(host_attack, attempts.lines(reach))
    times = time.time() - time.monotonic()
    found.closed["clock"] = await one.attempt("clock", _LATER)
    facts["clocks"] = [
        time.time() - time.monotonic() - times,
        *[int(await guest.sh("date +%s")) for guest in (one, other)],
    ]


def _orders() -> list[bytes]:
    known = [(ports.FW_CFG_SIGNATURE, 4), (ports.FW_CFG_UUID, 16), (ports.FW_CFG_CMDLINE, 60)]
    return [
        b"".join(ports.read(port) for port in ports.OTHERS.values()),
        ports.read(ports.SERIAL),
        b"".join(ports.fw_cfg(item, count) for item, count in known),
    ]


async def _with_open_barriers(one: Guest, other: Guest, found: Found) -> None:
    """Try the same in the same guest, on the same wire, where the test has taken the barriers away."""
    facts, tap = found.facts, one.tap
    addresses = {*facts["hosts"], *attempts.METADATA, *attempts.LINK_LOCAL, *attempts.PUBLIC, *attempts.SERVERS}
    addresses |= {attempts.SIX, *name_servers()}
    open_wire(one.namespace, tap, sorted(addresses))
    port = facts["port"]
    datagrams = sorted({port, *attempts.UDP_PORTS, 53, 67, 137, 1900, 5353, 5355})
    facts["tap"] = tap
    with (
        Victim(one.namespace, [port, 80, 53, 9989], datagrams, tap=tap),
        Capture(one.namespace, lambda _frame, ours: ours) as answers,
    ):
        found.opened |= await one.attack(attempts.lines(facts["network"]), LONG)
        found.opened["sweep"] = await one.attempt("sweep", attempts.HOST, 1, 2000)
    facts["answers with open barriers"] = sorted({frames.summary(frame) for frame in answers.frames})
    mark = facts["secret"].encode()
    with (
        Cable((one.namespace, tap), (other.namespace, other.tap)),
        Capture(other.namespace, lambda f, _: mark in f) as seen,
    ):
        found.opened |= await one.attack(_neighbours(facts["secret"]), LONG)
    facts["marked with a cable"] = len(seen.frames)
    await one.attempt("claim", attempts.CARD, attempts.NEIGHBOUR[0])
    facts["entries of an open net"] = _entries(one)


async def _to_the_end(one: Guest, other: Guest, found: Found) -> None:
    """Do to machines what ends them."""
    facts = found.facts
    before = sum(_resident(one.place))
    facts["memory"] = await _ended(other, f"printf 'one\\tmemory\\n' | perl {TOOLS}/attack.pl {LONG}")
    facts["taken"] = sum(_resident(one.place)) - before
    facts["reboot"] = await _ended(other, "echo b >/proc/sysrq-trigger; sleep 100")
    facts["left"] = await _left(one.place)
    facts["goes on"] = await one.attempt("tcp", attempts.HOST, 3128)
    facts["steal"] = await _ended(
        one, f"printf 'one\\tsteal\\t{attempts.GARBAGE.hex()}\\n' | perl {TOOLS}/attack.pl 60; sleep 100"
    )


async def _ended(guest: Guest, script: str) -> str:
    try:
        said = await asyncio.wait_for(guest.sh(script), _STOPPED)
    except CellError as error:
        return str(error)
    except TimeoutError:
        return "nothing"
    return f"goes on: {said}"


async def _left(place: Path) -> int:
    """Count the machines that are left when one has ended: libvirt tells of the end before QEMU has gone."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LONG):
            while len(list(machines(place))) != 1:  # noqa: ASYNC110  another process tells nobody
                await asyncio.sleep(0.1)
    return len(list(machines(place)))


def _ip(guest: Guest, *words: str) -> str:
    done = subprocess.run(["ip", "-netns", guest.tap, *words], capture_output=True, text=True, check=True)
    return done.stdout


def _entries(guest: Guest) -> list[str]:
    return [line.strip() for line in _ip(guest, "-4", "neighbour", "show").splitlines()]


def _received(guest: Guest) -> int:
    words = _ip(guest, "-statistics", "link", "show", "dev", guest.tap).split("RX:")[1].split("\n")[1].split()
    return int(words[1])


def _file(guest: Guest, name: str) -> Path:
    return guest.place / guest.name / name


def _sizes(guest: Guest) -> dict[str, tuple[int, int]]:
    """Give the size of each disk, and what it takes on the host."""
    found = {name: _file(guest, name).stat() for name in ("scratch", "data")}
    return {name: (status.st_size, status.st_blocks * 512) for name, status in found.items()}


def machines(place: Path) -> Iterator[int]:
    """Name the processes of QEMU whose files are below a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if b"qemu-system" in words.split(b"\0")[0] and os.fsencode(place) in words:
                yield int(process.name)


def _resident(place: Path) -> Iterator[int]:
    """Give the bytes of memory that each machine has."""
    for process in machines(place):
        yield int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Says what a build's machine is made of, as libvirt reads it: a function of values, so nothing slips in by text."""

# Elements are built, never pasted, and every word is judged before: libvirt's own XML can name any file of the host,
# and a name that ends its element early would too.

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from hermit_workers.cell import CellError

Kind = Literal["kvm", "qemu"]

# x86-64-v2 with AES: every processor of the last ten years has it and software emulation too, so that what a build sees
# (and what -march=native makes of it) is the same wherever it runs.
PROCESSOR = "Westmere"
# Of every build the same: what a build can read of its machine must not tell one from another.
MAC = "52:54:00:00:02:15"
UUID = "00000000-0000-4000-8000-000000000002"

# A kernel that panics reboots at once, and a reboot is the end: nobody waits for a dead machine. The next two take
# a quarter off an emulated start: the kernel does not try its own ciphers, and does not wipe what it gives out, of a
# memory that began empty and in which nobody else has ever been. The last one: on a busy host an emulated timer may
# come so late that the kernel takes it for broken, and panics.
_ARGUMENTS = ("console=ttyS0", "quiet", "panic=-1", "cryptomgr.notests", "init_on_alloc=0", "no_timer_check")
_MIB = 1 << 20
# What emulation keeps of code that it has translated. Without a word QEMU takes up to 1 GiB, by the host's memory.
TRANSLATED = 512 * _MIB
_LEAST_MEMORY, _MOST_MEMORY = 128 * _MIB, 1 << 40
_MOST_PROCESSORS = 255
_LAST_CLOCK = (1 << 32) - 1  # of a 32-bit RTC's year
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TAP = re.compile(r"[a-z][a-z0-9-]{0,14}")  # IFNAMSIZ is 16 with the zero
_SERIAL = re.compile(r"[a-z0-9-]{1,20}")  # VIRTIO_BLK_ID_BYTES
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,40}")
_ARGUMENT = re.compile(r"[A-Za-z0-9_.,:=/@-]{1,200}")
_MOST_DISKS = 20  # each is a function of its own on the bus


@dataclass(frozen=True, slots=True)
class Disk:
    """Is a file that the guest sees as a raw block device; the guest finds it by `serial` and not by its place."""

    path: Path
    serial: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Tap:
    """Is a tap device that is there already, and that the build's network namespace takes."""

    device: str


@dataclass(frozen=True, slots=True)
class UserNetwork:
    """Is QEMU's own network stack: it reaches what the namespace reaches that the session's libvirtd was born in."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Is one build's machine: `memory` in bytes (whole MiB), `clock` its first moment in seconds since the epoch.

    `arguments` are the kernel's, which everybody on the host can read: no secrets. `runs_as` are the user and group
    that QEMU runs as where libvirtd is root's; its files are theirs to read before it starts, because libvirt is told
    to change the owner of nothing. Without it QEMU runs as who runs libvirtd.
    """

    name: str
    kind: Kind
    memory: int
    processors: int
    kernel: Path
    initrd: Path
    disks: Sequence[Disk]
    link: Tap | UserNetwork | None
    console: Path
    clock: int
    arguments: Sequence[str] = ()
    processor: str = PROCESSOR
    runs_as: tuple[int, int] | None = None


def domain_xml(domain: Domain) -> str:
    """Give the XML of a domain; raise CellError for a value that no machine of Hermit's has."""
    _check(domain)
    root = Element("domain", type=domain.kind)
    SubElement(root, "name").text = domain.name
    SubElement(root, "uuid").text = UUID
    SubElement(root, "memory", unit="MiB").text = str(domain.memory // _MIB)
    SubElement(root, "vcpu", placement="static").text = str(domain.processors)
    _add_boot(root, domain)
    _add_machine(root, domain)
    devices = SubElement(root, "devices")
    for place, disk in enumerate(domain.disks):
        _add_disk(devices, disk, f"vd{chr(ord('a') + place)}")
    if domain.link is not None:
        _add_link(devices, domain.link)
    _add_console(devices, domain.console)
    rng = SubElement(devices, "rng", model="virtio")
    SubElement(rng, "backend", model="random").text = "/dev/urandom"
    # libvirt adds these to a machine that does not refuse them.
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(devices, "memballoon", model="none")
    if domain.runs_as is not None:
        label = SubElement(root, "seclabel", type="static", model="dac", relabel="no")
        SubElement(label, "label").text = "+{}:+{}".format(*domain.runs_as)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _add_boot(root: Element, domain: Domain) -> None:
    boot = SubElement(root, "os")
    SubElement(boot, "type", arch="x86_64", machine="q35").text = "hvm"
    SubElement(boot, "kernel").text = str(domain.kernel)
    SubElement(boot, "initrd").text = str(domain.initrd)
    SubElement(boot, "cmdline").text = " ".join([*_ARGUMENTS, *domain.arguments])


def _add_machine(root: Element, domain: Domain) -> None:
    features = SubElement(root, "features")
    for name in ("acpi", "apic"):
        SubElement(features, name)
    SubElement(features, "vmport", state="off")
    if domain.kind == "qemu":
        SubElement(SubElement(features, "tcg"), "tb-cache", unit="MiB").text = str(TRANSLATED // _MIB)
    cpu = SubElement(root, "cpu", mode="custom", match="exact", check="none")
    SubElement(cpu, "model", fallback="forbid").text = domain.processor
    clock = SubElement(root, "clock", offset="absolute", start=str(domain.clock))
    SubElement(clock, "timer", name="hpet", present="no")
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        SubElement(root, event).text = "destroy"
    power = SubElement(root, "pm")
    for state in ("suspend-to-mem", "suspend-to-disk"):
        SubElement(power, state, enabled="no")


def _add_disk(devices: Element, disk: Disk, target: str) -> None:
    made = SubElement(devices, "disk", type="file", device="disk")
    # Nothing of a build outlives it, so nothing has to be on the host's disk when the guest asks for that.
    # A host's disk without room stops the machine, which is told then; the guest would see a broken disk.
    driver = SubElement(made, "driver", name="qemu", type="raw", cache="unsafe", discard="unmap")
    driver.set("error_policy", "enospace")
    SubElement(made, "source", file=str(disk.path))
    SubElement(made, "target", dev=target, bus="virtio")
    if not disk.writable:
        SubElement(made, "readonly")
        SubElement(made, "shareable")
    SubElement(made, "serial").text = disk.serial


def _add_link(devices: Element, link: Tap | UserNetwork) -> None:
    interface = SubElement(devices, "interface", type="ethernet" if isinstance(link, Tap) else "user")
    SubElement(interface, "mac", address=MAC)
    if isinstance(link, Tap):
        SubElement(interface, "target", dev=link.device, managed="no")
    SubElement(interface, "model", type="virtio")
    SubElement(interface, "rom", enabled="no")


def _add_console(devices: Element, log: Path) -> None:
    # virtlogd writes the file, and begins another where a guest fills it.
    serial = SubElement(devices, "serial", type="pty")
    SubElement(serial, "log", file=str(log), append="off")
    SubElement(serial, "target", type="isa-serial", port="0")
    console = SubElement(devices, "console", type="pty")
    SubElement(console, "target", type="serial", port="0")


def _check(domain: Domain) -> None:
    _match(_NAME, domain.name, "name")
    _match(_MODEL, domain.processor, "processor")
    for word in domain.arguments:
        _match(_ARGUMENT, word, "kernel argument")
    serials = [disk.serial for disk in domain.disks]
    for serial in serials:
        _match(_SERIAL, serial, "disk serial")
    if isinstance(domain.link, Tap):
        _match(_TAP, domain.link.device, "tap")
    for path in (domain.kernel, domain.initrd, domain.console, *(disk.path for disk in domain.disks)):
        _check_path(path)
    _judge(domain.kind in {"kvm", "qemu"}, "kind", domain.kind)
    _judge(len(set(serials)) == len(serials) <= _MOST_DISKS, "list of disk serials", serials)
    whole = domain.memory % _MIB == 0 and _LEAST_MEMORY <= domain.memory <= _MOST_MEMORY
    _judge(whole, "memory (whole MiB, at least 128)", domain.memory)
    _judge(1 <= domain.processors <= _MOST_PROCESSORS, "number of processors", domain.processors)
    _judge(0 <= domain.clock <= _LAST_CLOCK, "clock", domain.clock)
    _judge(domain.runs_as is None or min(domain.runs_as) > 0, "user and group", domain.runs_as)


def _check_path(path: Path) -> None:
    text = str(path)
    plain = path.is_absolute() and ".." not in path.parts and text.isprintable()
    if not plain:
        hint = "put Hermit's folders (XDG_DATA_HOME, XDG_STATE_HOME) where every character of the path can be read"
        raise CellError(f"a VM cannot have the file {text!r}: expected a full path of printable characters", hint=hint)


def _match(pattern: re.Pattern[str], text: str, what: str) -> None:
    _judge(pattern.fullmatch(text) is not None, what, text)


def _judge(right: bool, what: str, value: object) -> None:  # noqa: FBT001  the judgement is what it is about
    if not right:
        raise CellError(f"a VM cannot have the {what} {value!r}")

"""Attacks of a machine's root on the host by anything but the wire: devices, disks, files, memory, time."""

from __future__ import annotations

import re

import pytest

from tests.integration.vm.escapes import ports
from tests.integration.vm.escapes.rows import attack
from tests.integration.vm.escapes.siege import LIMITS, Found
from tests.integration.vm.escapes.test_vm_wire import barred

pytestmark = [pytest.mark.registry, pytest.mark.timeout(900)]

NET, BLOCK, ENTROPY = "0x0001", "0x0002", "0x0004"
# Bridges of PCI and ISA, its disks' and management's controller (every Q35 has them), network, disk, and other.
CLASSES = {"0x060000", "0x060400", "0x060100", "0x010601", "0x0c0500", "0x020000", "0x010000", "0x00ff00"}
KNOWN = {"SHLVL", "HOME", "TERM", "PATH", "PWD", "OLDPWD", "LC_ALL", "TZ"}
LONGEST = 30
CONSOLES = 2
UUID = "00000000-0000-4000-8000-000000000002"  # of every build the same


def tried(found: Found, start: str) -> str:
    (said,) = (said for name, said in found.closed.items() if name.startswith(start))
    return said


def told(found: Found, word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", found.facts["looks"], re.MULTILINE)


@attack("vm-sockets")
def test_no_socket_of_the_host_is_in_a_guest(found: Found) -> None:
    barred(found, "vm-sockets", found.host)
    named = " ".join(found.facts["named"])
    assert "libvirt-sock" in named
    assert "monitor.sock" in named


@attack("vm-store")
def test_no_file_of_the_host_is_in_a_guest(found: Found) -> None:
    barred(found, "vm-store", found.host)
    assert tried(found, "mount mount tmpfs") == "reached"
    assert not {tried(found, f"mount mount {kind}") for kind in ("9p", "virtiofs")} & {"reached", "nothing"}


@attack("vm-vsock")
def test_a_guest_has_no_vsock_to_the_host(found: Found) -> None:
    assert tried(found, "vsock vsock 2") == "connect: No such device"
    assert tried(found, "vsock vsock 1") == "reached"


@attack("vm-serial")
@attack("vm-balloon")
def test_a_guest_has_disks_a_card_and_entropy_of_virtio_and_nothing_else(found: Found) -> None:
    assert sorted(told(found, "virtio")) == [NET, BLOCK, BLOCK, BLOCK, ENTROPY]


@attack("vm-devices")
def test_a_guest_has_no_device_that_it_does_not_need(found: Found) -> None:
    assert set(told(found, "pci")) == CLASSES


@attack("vm-io-ports")
def test_no_device_is_behind_the_ports_that_qemu_has_for_others(found: Found) -> None:
    others, serial, firmware = (said for name, said in found.closed.items() if name.startswith("ports "))
    assert others == f"reached {ports.NOBODY:02x}" + f"{ports.NOBODY:02x}" * (len(ports.OTHERS) - 1)
    assert serial != f"reached {ports.NOBODY:02x}"
    assert bytes.fromhex(firmware.split()[1]).startswith(b"QEMU")


@attack("vm-firmware")
def test_what_a_machine_is_told_is_nothing_of_the_host_and_the_same_in_each(found: Found) -> None:
    *hosts, known = told(found, "told")
    assert int(known.split()[-1]) > 0
    assert [line.split()[-1] for line in hosts] == ["0", "0"]
    assert told(found, "dmi") == [f"Standard PC (Q35 + ICH9, 2009) {UUID} "]
    firmware = [said for name, said in found.closed.items() if name.startswith("ports ")][-1]
    assert bytes.fromhex(UUID.replace("-", ""))[8:] in bytes.fromhex(firmware.split()[1])


@attack("vm-command-line")
def test_no_secret_is_on_the_command_line_or_in_the_environment(found: Found) -> None:
    (line,) = told(found, "cmdline")
    assert "hermit.clock=1600000000" in line.split()
    # No path, and nothing that is long enough to be a secret.
    assert [word for word in line.split() if "/" in word or len(word) > LONGEST] == []
    (environment,) = told(found, "environ")
    assert {word.partition("=")[0] for word in environment.split("^@") if word} <= KNOWN
    assert "PATH=" in environment


@attack("vm-authority-key")
def test_the_key_of_the_authority_is_nowhere_and_its_certificate_is(found: Found) -> None:
    key, _, cert = tried(found, "grep ").removeprefix("reached").partition(";")
    assert key.strip() == ""
    assert "/opt/authority.pem" in cert.split()


@attack("vm-image-disk")
@attack("vm-data-disk")
def test_two_disks_are_for_reading(found: Found) -> None:
    for disk in ("/dev/vda", "/dev/vdc"):
        assert not tried(found, f"write write {disk}").startswith("reached")
    assert found.facts["image after"] == found.facts["image"]
    assert tried(found, "write write /dev/vdb 1") == "reached 512"
    assert found.facts["scratch ends with"] == found.facts["secret"]


@attack("vm-scratch-end")
@attack("vm-fills-disk")
def test_a_disk_has_its_size_whatever_is_written(found: Found) -> None:
    assert tried(found, "write write /dev/vdb end") == "write: No space left on device"
    said, count = found.facts["fills"].split("\n")[0].rsplit(" ", 1)
    assert said == "No space left on device"
    assert LIMITS.disk // 2 < int(count) < LIMITS.disk
    size, taken = found.facts["disks after"]["scratch"]
    assert taken <= size == found.facts["disks"]["scratch"][0] == LIMITS.disk
    assert taken > LIMITS.disk // 2
    assert found.facts["disks after"]["data"] == found.facts["disks"]["data"]


@attack("vm-fills-memory")
def test_a_guest_that_takes_all_memory_has_its_own_and_no_more(found: Found) -> None:
    # It is told that it was killed, or its cell has ended because of that.
    assert "reached" not in found.facts["memory"]
    assert LIMITS.memory // 4 < found.facts["taken"] < LIMITS.memory + (64 << 20)
    assert found.facts["goes on"] == "reached proxy one."


@attack("vm-fills-console")
@pytest.mark.long  # a byte for a byte through an emulated port: half a minute of a processor
def test_a_console_that_is_written_to_without_end_takes_two_megabytes(console: tuple[str, list[int]]) -> None:
    said, sizes = console
    assert said == "reached: 3072 KiB"
    assert 1 <= len(sizes) <= CONSOLES
    assert 1 << 19 < sum(sizes) < (CONSOLES << 20) + (64 << 10)


@attack("vm-clock")
def test_a_guests_clock_is_its_own(found: Found) -> None:
    assert found.closed["clock"] == "reached 2000000000"
    moved, own, others = found.facts["clocks"]
    assert abs(moved) < 60
    assert own >= 2_000_000_000
    assert others < 1_700_000_000


@attack("vm-restarts")
def test_a_machine_that_restarts_is_over_and_no_other_minds(found: Found) -> None:
    assert "goes on" not in found.facts["reboot"]
    assert found.facts["left"] == 1
    assert found.facts["goes on"] == "reached proxy one."

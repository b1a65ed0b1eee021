"""Checks the XML of domains as values, and against libvirt's own schema."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from hermit_workers.cell import CellError
from hermit_workers.vm.domain import MAC, TRANSLATED, Disk, Domain, Tap, UserNetwork, domain_xml

BASE = Domain(
    name="hermit-0123abcd",
    kind="qemu",
    memory=1 << 30,
    processors=2,
    kernel=Path("/srv/vmlinuz"),
    initrd=Path("/srv/initrd"),
    disks=(Disk(Path("/srv/root.ext4"), "hermit-root"), Disk(Path("/run/x/scratch"), "hermit-scratch", writable=True)),
    link=Tap("hv0123abcd"),
    console=Path("/run/x/console"),
    clock=1_700_000_000,
)
CASES: dict[str, dict[str, Any]] = {
    "a tap": {},
    "QEMU's own network": {"link": UserNetwork()},
    "no network": {"link": None},
    "KVM": {"kind": "kvm"},
    "no disk": {"disks": ()},
    "twenty disks": {"disks": tuple(Disk(Path(f"/d/{n}"), f"d{n}", writable=n % 2 == 0) for n in range(20))},
    "a user of its own": {"runs_as": (1_879_048_192, 64_000)},
    "kernel arguments": {"arguments": ("hermit.probe=1", "init=/sbin/x")},
    "another processor": {"processor": "Haswell-noTSX"},
    "one processor, little memory": {"processors": 1, "memory": 128 << 20},
    "many processors, much memory": {"processors": 255, "memory": 1 << 40},
    "the epoch": {"clock": 0},
    "paths with all that XML and QEMU mark": {
        "kernel": Path("/a b/<&>'\",=;ü]]>/k"),
        "disks": (Disk(Path("/a,readonly=off/'/><x y='d"), "d"),),
    },
}


def xml_of(**changes: Any) -> ET.Element:
    return ET.fromstring(domain_xml(dataclasses.replace(BASE, **changes)))  # noqa: S314  our own


def there(found: ET.Element | None) -> ET.Element:
    assert found is not None
    return found


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())
def test_libvirts_own_schema_takes_it(changes: dict[str, Any], tmp_path: Path) -> None:
    if shutil.which("virt-xml-validate") is None:
        pytest.skip("virt-xml-validate is not installed (libvirt-clients)")
    path = tmp_path / "domain.xml"
    path.write_text(domain_xml(dataclasses.replace(BASE, **changes)))
    done = subprocess.run(["virt-xml-validate", path, "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr + path.read_text()


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())
def test_a_machine_has_its_devices_and_no_other(changes: dict[str, Any]) -> None:
    domain = dataclasses.replace(BASE, **changes)
    devices = [element.tag for element in there(xml_of(**changes).find("devices"))]
    wanted = ["disk"] * len(domain.disks) + ["interface"] * (domain.link is not None)
    assert devices == [*wanted, "serial", "console", "rng", "controller", "memballoon"]
    assert [element.get("model") for element in xml_of(**changes).findall("devices/*")][-2:] == ["none", "none"]
    text = domain_xml(domain)
    assert "xmlns" not in text
    assert "commandline" not in text


def test_paths_come_back_as_they_went_in() -> None:
    changes = CASES["paths with all that XML and QEMU mark"]
    root = xml_of(**changes)
    assert root.findtext("os/kernel") == str(changes["kernel"])
    assert [source.get("file") for source in root.findall("devices/disk/source")] == [str(changes["disks"][0].path)]


def test_only_a_writable_disk_can_be_written() -> None:
    read_only = [disk.find("readonly") is not None for disk in xml_of().findall("devices/disk")]
    assert read_only == [True, False]
    serials = [disk.findtext("serial") for disk in xml_of().findall("devices/disk")]
    assert serials == ["hermit-root", "hermit-scratch"]
    assert {there(disk.find("driver")).get("type") for disk in xml_of().findall("devices/disk")} == {"raw"}


def test_the_link_is_a_tap_that_libvirt_leaves_alone_or_none_of_the_hosts() -> None:
    tap = there(xml_of().find("devices/interface"))
    assert tap.get("type") == "ethernet"
    assert there(tap.find("target")).attrib == {"dev": "hv0123abcd", "managed": "no"}
    user = there(xml_of(link=UserNetwork()).find("devices/interface"))
    assert user.get("type") == "user"
    assert user.find("target") is None
    assert {there(link.find("mac")).get("address") for link in (tap, user)} == {MAC}


def test_a_host_without_room_stops_the_machine_and_the_guest_hears_of_no_error() -> None:
    policies = {there(disk.find("driver")).get("error_policy") for disk in xml_of().findall("devices/disk")}
    assert policies == {"enospace"}


def test_what_emulation_keeps_of_translated_code_is_bounded_and_hardware_keeps_none() -> None:
    kept = there(xml_of(kind="qemu").find("features/tcg/tb-cache"))
    assert (kept.get("unit"), kept.text) == ("MiB", str(TRANSLATED >> 20))
    assert xml_of(kind="kvm").find("features/tcg") is None


def test_the_clock_stands_at_the_recordings_time() -> None:
    assert there(xml_of(clock=1_600_000_000).find("clock")).attrib == {"offset": "absolute", "start": "1600000000"}


def test_the_end_of_a_guest_is_the_end_of_its_machine() -> None:
    root = xml_of()
    assert {root.findtext(event) for event in ("on_poweroff", "on_reboot", "on_crash")} == {"destroy"}
    assert "panic=-1" in str(root.findtext("os/cmdline")).split()


def test_libvirt_changes_no_owner_where_qemu_has_a_user_of_its_own() -> None:
    label = there(xml_of(runs_as=(64055, 107)).find("seclabel"))
    assert (label.get("type"), label.get("relabel"), label.findtext("label")) == ("static", "no", "+64055:+107")
    assert xml_of().find("seclabel") is None


HOSTILE = ["", "a'/><devices/>", "a<b", "a b", "a\nb", "a\0b", "../x", "a/b", "é", "-x", "A&amp;B", "x" * 64]
BAD: list[tuple[str, Any]] = [
    *(("name", text) for text in HOSTILE),
    *(("link", Tap(text)) for text in [*HOSTILE, "sixteen-letters-"]),
    *(("disks", (Disk(Path("/d"), text),)) for text in [*HOSTILE[:9], "x" * 21]),
    *(("processor", text) for text in HOSTILE),
    *(("arguments", (text,)) for text in ("", "a b", "a\tb", 'a"b', "a'b", "a<b", "a\0", "x" * 201)),
    *(
        (field, Path(text))
        for field in ("kernel", "initrd", "console")
        for text in ("", "k", "/a/../b", "/a\nb", "/a\0b", "/\x1b[0m", "/\udcff", "/a\u2028b")
    ),
    ("disks", (Disk(Path("relative"), "d"),)),
    ("disks", (Disk(Path("/a"), "d"), Disk(Path("/b"), "d"))),
    ("disks", tuple(Disk(Path("/a"), f"d{n}") for n in range(21))),
    *(("memory", number) for number in (0, -(1 << 20), (1 << 30) + 1, 64 << 20, 1 << 41)),
    *(("processors", number) for number in (0, -1, 256)),
    *(("clock", number) for number in (-1, 1 << 32)),
    *(("runs_as", ids) for ids in ((0, 100), (100, 0), (-1, 5))),
    ("kind", "xen"),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_value_that_no_machine_has_is_refused_and_named(field: str, value: Any) -> None:
    with pytest.raises(CellError, match="a VM cannot have the"):
        xml_of(**{field: value})

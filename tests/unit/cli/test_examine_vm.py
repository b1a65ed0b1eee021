"""Examines what a machine has for VMs, as far as nothing has to boot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli import examine_vm as subject
from hermit_cli.examine_vm import examine_vm
from hermit_cli.findings import Finding, Level
from hermit_proxy.settings import Settings, VmKind, VmSettings
from hermit_workers.vm import kvm
from hermit_workers.vm.kvm import Verdict

PROGRAMS = ("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64", "mke2fs", "ip", "nft")
GIB = 1 << 30


class Machine:
    """Is a machine that has programs, a /dev/kvm and memory as a test says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self.environment = {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_RUNTIME_DIR": str(folder / "run")}
        (folder / "bin").mkdir()
        (folder / "run").mkdir(mode=0o700)
        monkeypatch.setattr("hermit_workers.vm.layout.PATH", str(folder / "bin"))
        monkeypatch.setattr(subject, "_DRIVERS", (str(folder / "driver")[1:],))
        monkeypatch.setattr(subject, "_TUN", folder / "tun")
        monkeypatch.setattr(kvm, "_DEVICE", folder / "kvm")
        monkeypatch.setattr(subject, "available", lambda: 20 * GIB)
        monkeypatch.setattr(subject, "sockets", lambda _environment: folder)
        monkeypatch.setattr("os.geteuid", lambda: 0)
        for name in ("driver", "tun"):
            (folder / name).touch()
        for name in PROGRAMS:
            (folder / "bin" / name).touch(mode=0o755)

    def lacks(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    def is_users(self) -> None:
        self._monkeypatch.setattr("os.geteuid", lambda: 1234)

    def has_booted(self, verdict: Verdict | None = None) -> None:
        boots = self.folder / "cache/hermit/vm/boot/one"
        boots.mkdir(parents=True)
        (boots / "kernel").touch()

        async def judge(kernel: Path, initrd: Path, cache: Path) -> Verdict:
            assert (kernel, initrd) == (boots / "kernel", boots / "initrd")
            assert cache == self.folder / "cache/hermit/vm/kvm.json"
            assert verdict is not None
            return verdict

        self._monkeypatch.setattr(kvm, "_judge", judge)

    def examined(self, settings: Settings | None = None) -> list[Finding]:
        return list(examine_vm(settings or Settings(), self.environment))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("lacks", "user", "told", "packages"),
    [
        (("bin/libvirtd",), False, "libvirtd", "libvirt-daemon"),
        (("bin/libvirtd", "bin/virtlogd", "driver"), False, "libvirtd, virtlogd, libvirt_driver_qemu.so",
         "libvirt-daemon libvirt-daemon-driver-qemu"),
        (("bin/virsh", "bin/qemu-system-x86_64"), True, "virsh, qemu-system-x86_64", "libvirt-clients qemu-system-x86"),
        (("bin/mke2fs", "bin/ip", "bin/nft"), False, "mke2fs, ip, nft", "e2fsprogs iproute2 nftables"),
    ],
)  # fmt: skip
def test_all_that_is_missing_is_named_at_once_with_the_command_that_installs_it(
    machine: Machine, lacks: tuple[str, ...], told: str, packages: str, *, user: bool
) -> None:
    machine.lacks(*lacks)
    if user:
        machine.is_users()
    (found,) = machine.examined()
    assert (found.name, found.level) == ("vm", Level.WARN)
    assert found.detail == f"not installed: {told}; all else works without"
    assert str(found.mend).endswith(f"apt-get install --no-install-recommends {packages}")


def test_who_is_not_root_needs_nothing_for_a_tap(machine: Machine) -> None:
    machine.lacks("bin/ip", "bin/nft", "tun")
    machine.is_users()
    assert [found.level for found in machine.examined()] == [Level.OK] * 3


@pytest.mark.parametrize(
    ("wanted", "device", "booted", "level", "told"),
    [
        ("auto", False, None, Level.OK, "emulated: there is no "),
        ("qemu", True, None, Level.OK, "emulated: emulation is what the settings ask for"),
        ("kvm", False, None, Level.WARN, "KVM is wanted and cannot be used: there is no "),
        ("auto", True, None, Level.OK, "KVM if it boots a guest, else emulated: the first build tries"),
        ("auto", True, Verdict("kvm", "it boots"), Level.OK, "by KVM: it boots"),
        ("auto", True, Verdict("qemu", "it hangs"), Level.OK, "emulated: it hangs (kept until"),
        ("kvm", True, Verdict("qemu", "it hangs"), Level.WARN, "KVM is wanted and cannot be used: it hangs"),
    ],
)
def test_the_kind_of_machine_is_told_with_the_reason(
    machine: Machine, wanted: VmKind, booted: Verdict | None, level: Level, told: str, *, device: bool
) -> None:
    if device:
        (machine.folder / "kvm").touch()
    if booted:
        machine.has_booted(booted)
    found = machine.examined(Settings(vm=VmSettings(wanted)))[0]
    assert (found.name, found.level) == ("vm", level)
    assert found.detail.startswith(told)
    assert level is Level.OK or "kind: auto" in str(found.mend)


def test_roots_link_is_a_tap_and_a_users_is_qemus_own_network(machine: Machine) -> None:
    assert "a tap in a network namespace" in machine.examined()[1].detail
    machine.lacks("tun")
    assert (machine.examined()[1].level, machine.examined()[1].mend) == (Level.WARN, "modprobe tun")
    machine.is_users()
    assert machine.examined()[1].detail.startswith("QEMU's own network")


@pytest.mark.parametrize(
    ("limits", "vm", "level", "told"),
    [
        ({"memory": 1 << 30}, VmSettings(), Level.OK, "11 VMs at once; further ones wait"),
        ({"memory": 1 << 30}, VmSettings(memory=3 << 30), Level.OK, "3 VMs at once; further ones wait"),
        ({"memory": 1 << 30}, VmSettings(memory=1 << 30), Level.OK, "1 VM at once; further ones wait"),
        ({"memory": 1 << 30}, VmSettings(memory=512 << 20), Level.OK, "1 VM at once; further ones wait"),
    ],
)
def test_how_many_vms_fit_at_once_is_told(
    machine: Machine, limits: dict[str, float], vm: VmSettings, level: Level, told: str
) -> None:
    found = machine.examined(Settings(limits=limits, vm=vm))[2]
    assert (found.name, found.level) == ("vm memory", level)
    assert found.detail.endswith(told)


def test_a_machine_without_room_for_one_is_told_what_helps(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "available", lambda: os.sysconf("SC_PAGE_SIZE"))
    found = machine.examined()[2]
    assert found.level is Level.WARN
    assert "none fits" in found.detail
    assert "limits.memory" in str(found.mend)

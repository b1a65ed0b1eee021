"""Tries the probe against QEMUs that say, hang and fail as real ones do; the real one is in tests/integration/vm."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.vm import kvm
from hermit_workers.vm.domain import PROCESSOR
from hermit_workers.vm.kvm import Verdict, Wanted, choose

# What every one of them does first; $word is what the guest was asked to say.
_HEAD = """#!/bin/sh
echo "$$ $*" >>"$0.runs"
for word in $*; do case $word in hermit.probe=*) word=${word#hermit.probe=}; break ;; esac; done
"""
SAYS = r'printf "SeaBIOS\r\n\033[chermit: 0.91 kernel\r\nhermit: 0.93 probe $word\r\n"; exec sleep 1000'
HANGS = "echo SeaBIOS; exec sleep 1000"


class Machine:
    """Is a machine with a /dev/kvm and a QEMU that a test makes up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.cache = folder / "cache" / "kvm.json"
        self.device = folder / "kvm"
        self.boot_id = folder / "boot_id"
        for name in ("kvm", "boot_id", "kernel", "initrd"):
            (folder / name).write_text(name)
        monkeypatch.setattr(kvm, "_DEVICE", self.device)
        monkeypatch.setattr(kvm, "_BOOT_ID", self.boot_id)
        monkeypatch.setattr(kvm, "_PATH", str(folder / "bin"))
        (folder / "bin").mkdir()

    def install(self, script: str) -> None:
        program = self.folder / "bin" / "qemu-system-x86_64"
        program.write_text(f"{_HEAD}{script}\n")
        program.chmod(0o755)

    def choose(self, wanted: Wanted = "auto") -> Verdict:
        return asyncio.run(choose(wanted, self.folder / "kernel", self.folder / "initrd", cache=self.cache))

    @property
    def runs(self) -> list[str]:
        path = self.folder / "bin" / "qemu-system-x86_64.runs"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_guest_that_says_its_word_means_kvm_and_its_qemu_is_ended(machine: Machine) -> None:
    machine.install(SAYS)
    assert machine.choose() == Verdict("kvm", "the guest's kernel boots under KVM")
    assert machine.choose("kvm").kind == "kvm"
    process, words = machine.runs[0].split(" ", 1)
    assert not Path("/proc", process).exists()
    assert words.startswith("-sandbox on,")
    assert f"-machine q35,accel=kvm -cpu {PROCESSOR} " in words


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (HANGS, "does not get to its first process in 0 s"),
        (r'printf "console=ttyS0 hermit.probe=$word\r\n"; exec sleep 1000', "does not get to its first process"),
        (r'printf "x hermit: 0.93 probe $word\r\n"; exec sleep 1000', "does not get to its first process"),
        ("printf 'hermit: 0.93 probe other\\r\\n'; exec sleep 1000", "does not get to its first process"),
        ("echo 'no KVM support' >&2; exit 1", "QEMU ended before the guest's kernel was up: no KVM support"),
        ("exit 0", "QEMU ended before the guest's kernel was up"),
        ("exec yes", "does not get to its first process"),
    ],
)
def test_whatever_else_a_guest_does_means_emulation_and_never_a_hang(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setattr(kvm, "_SECONDS", 0.4 if "exit" not in script else 60.0)
    machine.install(script)
    verdict = machine.choose()
    assert verdict.kind == "qemu"
    assert reason in verdict.reason
    assert not Path("/proc", machine.runs[0].split()[0]).exists()
    with pytest.raises(CellError, match="KVM is wanted and cannot be used") as caught:
        machine.choose("kvm")
    assert "auto" in str(caught.value.hint)


def test_a_verdict_is_kept_and_only_for_this_boot_qemu_kernel_and_initrd(machine: Machine) -> None:
    machine.install(SAYS)
    machine.choose()
    machine.choose()
    assert len(machine.runs) == 1
    for number, name in enumerate(("boot_id", "kernel", "initrd"), 2):
        (machine.folder / name).write_text("another")
        machine.choose()
        machine.choose()
        assert len(machine.runs) == number
    os.utime(machine.folder / "bin" / "qemu-system-x86_64", ns=(1, 1))
    machine.choose()
    assert len(machine.runs) == 5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"key": 1}', b"[" * 100_000])
def test_a_damaged_cache_is_no_verdict(machine: Machine, content: bytes) -> None:
    machine.install(SAYS)
    machine.cache.parent.mkdir()
    machine.cache.write_bytes(content)
    assert machine.choose().kind == "kvm"
    assert json.loads(machine.cache.read_bytes())["kind"] == "kvm"


def test_a_cache_that_cannot_be_written_is_no_hindrance(machine: Machine) -> None:
    machine.install(SAYS)
    machine.cache.parent.write_text("a file where a folder should be")
    assert machine.choose().kind == "kvm"


def test_without_the_device_nothing_is_started(machine: Machine) -> None:
    machine.install(SAYS)
    machine.device.unlink()
    assert machine.choose() == Verdict("qemu", f"there is no {machine.device}")
    assert machine.choose("qemu").kind == "qemu"
    assert machine.runs == []


def test_who_asks_for_emulation_gets_it_untried(machine: Machine) -> None:
    machine.install(SAYS)
    assert machine.choose("qemu").kind == "qemu"
    assert machine.runs == []


def test_a_machine_without_qemu_says_what_to_install(machine: Machine) -> None:
    with pytest.raises(CellError, match="qemu-system-x86_64 is not installed") as caught:
        machine.choose()
    assert "apt-get install" in str(caught.value.hint)


def test_a_kernel_that_is_not_there_is_named(machine: Machine) -> None:
    machine.install(SAYS)
    (machine.folder / "kernel").unlink()
    with pytest.raises(CellError, match="kernel cannot be read: No such file"):
        machine.choose()

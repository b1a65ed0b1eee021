"""Tries what `hermit build --cell vm` needs of this machine: programs, the kind of machine, its wire, and memory."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from hermit_cli.build.limits import limits_for
from hermit_cli.findings import Finding, ok, warn
from hermit_cli.output import bytes_as_text
from hermit_cli.table import counted
from hermit_proxy.errors import HermitError
from hermit_proxy.settings import Settings
from hermit_steps.spec import NOTHING_WANTED
from hermit_workers.limits import usual
from hermit_workers.making import sockets
from hermit_workers.sandbox.doctor import as_root
from hermit_workers.sandbox.limits.gauges import available
from hermit_workers.vm import kvm, layout, room
from hermit_workers.vm.boot import INITRD, KERNEL, boot_folders, vm_cache

_TUN = Path("/dev/net/tun")
_PROGRAMS = {
    "libvirtd": "libvirt-daemon",
    "virtlogd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "mke2fs": "e2fsprogs",
}
# Only who is root has a network namespace made; others have QEMU's own network.
_ROOTS = {"ip": "iproute2", "nft": "nftables"}
# A part of libvirt's that is no program: without it, libvirtd starts and knows of no QEMU.
_DRIVER, _DRIVERS_PACKAGE = "libvirt_driver_qemu.so", "libvirt-daemon-driver-qemu"
_DRIVERS = tuple(f"usr/{place}/libvirt/connection-driver/{_DRIVER}" for place in ("lib/*", "lib", "lib64"))


def examine_vm(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Give the findings; none of them is a failure, for all else works without VMs."""
    lacking = _lacking()
    if lacking:
        packages = " ".join(sorted(set(lacking.values())))
        mend = as_root(f"apt-get install --no-install-recommends {packages}")
        yield warn("vm", f"not installed: {', '.join(lacking)}; all else works without", mend)
        return
    yield _kind(settings, environ)
    yield _link(environ)
    yield _memory(settings)


def _lacking() -> dict[str, str]:
    """Give what is not there, with its package."""
    wanted = {**_PROGRAMS, **(_ROOTS if os.geteuid() == 0 else {})}
    lacking = {name: package for name, package in wanted.items() if shutil.which(name, path=layout.PATH) is None}
    found = [path for places in _DRIVERS for path in Path("/").glob(places)]
    return lacking if found else {**lacking, _DRIVER: _DRIVERS_PACKAGE}


def _kind(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Say which kind of machine a build gets here, found out as a build does: KVM is believed when it has booted."""
    booted, cache = sorted(boot_folders(environ).glob(f"*/{KERNEL}")), vm_cache(environ) / "kvm.json"
    try:
        verdict = kvm.known(settings.vm.kind)
        if tried := verdict is None and bool(booted):
            kernel, initrd = booted[0], booted[0].with_name(INITRD)
            verdict = asyncio.run(kvm.choose(settings.vm.kind, kernel, initrd, cache=cache))
    except HermitError as error:
        return warn("vm", str(error), error.hint)
    if verdict is None:
        return ok("vm", "KVM if it boots a guest, else emulated: the first build tries, and keeps the answer")
    if verdict.kind == "kvm":
        return ok("vm", f"by KVM: {verdict.reason}")
    kept = f" (kept until this machine starts anew, or {cache} is removed)" if tried else ""
    return ok("vm", f"emulated: {verdict.reason}{kept}")


def _link(environ: Mapping[str, str]) -> Finding:
    try:
        sockets(environ)
    except HermitError as error:
        return warn("vm link", str(error), error.hint)
    if os.geteuid():
        return ok("vm link", "QEMU's own network in a namespace of each build's own (root has a tap)")
    if not _TUN.exists():
        return warn("vm link", f"there is no {_TUN}, from which taps are made", "modprobe tun")
    return ok("vm link", "a tap in a network namespace of each build's own, since you are root")


def _memory(settings: Settings) -> Finding:
    memory = limits_for(NOTHING_WANTED, settings.limits, usual("vm", settings.vm)).memory
    left = available()
    number = room.fitting(memory, settings.vm.memory, left)
    told = f"{bytes_as_text(memory)} for a VM whose spec asks for none, {bytes_as_text(room.BESIDE)} for what runs it"
    left_told = f"this machine has {bytes_as_text(left)} left"
    if number == 0:
        return warn("vm memory", f"{told}: {left_told}, none fits", "a spec may ask for less (limits.memory)")
    return ok("vm memory", f"{told}: {left_told}, {counted(number, 'VM')} at once; further ones wait")

"""Finds out whether this machine's KVM boots a guest: on some it is offered, starts, and then hangs for ever."""

# What counts is a guest's own kernel that says so itself. /dev/kvm opens, libvirt offers KVM and even a BIOS runs on
# hosts (nested, paravirtualised) where no kernel ever gets to its first process.

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from hermit_workers.cell import CellError
from hermit_workers.vm.domain import PROCESSOR, Kind

Wanted = Literal["auto", "kvm", "qemu"]

_DEVICE = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PATH = os.defpath
_PROGRAM = "qemu-system-x86_64"
_INSTALL = "sudo apt-get install --no-install-recommends qemu-system-x86"
_SECONDS = 10.0
_MOST_SAID = 1 << 16
_TOLD = 300
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Is what was found: the kind of machine to make, and a sentence for people that says why."""

    kind: Kind
    reason: str


async def choose(wanted: Wanted, kernel: Path, initrd: Path, *, cache: Path) -> Verdict:
    """Say which kind of machine boots this kernel here; raise CellError where KVM is wanted and does not.

    `initrd` answers to `hermit.probe=` (guest/initramfs.sh). The verdict is kept in `cache`, a file, until the host
    boots again or QEMU, the kernel or the initrd is another. It takes 10 s at the worst.
    """
    return known(wanted) or _checked(wanted, await _judge(kernel, initrd, cache))


def known(wanted: Wanted) -> Verdict | None:
    """Say which kind of machine it is where nothing has to boot for that, else None; raise CellError as `choose`."""
    if wanted == "qemu":
        return Verdict("qemu", "emulation is what the settings ask for")
    if not os.path.exists(_DEVICE):
        return _checked(wanted, Verdict("qemu", f"there is no {_DEVICE}"))
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        mend = "sudo usermod --append --groups kvm $USER"
        return _checked(wanted, Verdict("qemu", f"this user may not open {_DEVICE} ({mend})"))
    return None


def _checked(wanted: Wanted, verdict: Verdict) -> Verdict:
    if wanted == "kvm" and verdict.kind != "kvm":
        hint = "`vm: {kind: auto}` in your settings, or `kind: qemu`, which emulates"
        raise CellError(f"KVM is wanted and cannot be used: {verdict.reason}", hint=hint)
    return verdict


async def _judge(kernel: Path, initrd: Path, cache: Path) -> Verdict:
    program = shutil.which(_PROGRAM, path=_PATH)
    if program is None:
        raise CellError(f"{_PROGRAM} is not installed, and VMs need it", hint=_INSTALL)
    key = await asyncio.to_thread(_thd_key, program, kernel, initrd)
    kept = await asyncio.to_thread(_thd_kept, cache, key)
    if kept is None:
        kept = await probe(program, kernel, initrd, "kvm", seconds=_SECONDS)
        await asyncio.to_thread(_thd_keep, cache, key, kept)
    return kept


async def probe(program: str, kernel: Path, initrd: Path, kind: Kind, *, seconds: float) -> Verdict:
    """Boot the kernel with this kind of machine until it says a word that nobody else knows, or the time is over.

    The verdict's kind is `qemu` for whatever went wrong; QEMU has ended when this returns.
    """
    token = secrets.token_hex(8)
    accelerator = "kvm" if kind == "kvm" else "tcg"
    running = await asyncio.create_subprocess_exec(
        program, "-sandbox", _SANDBOX, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
        "-machine", f"q35,accel={accelerator}", "-cpu", PROCESSOR, "-m", "256", "-serial", "stdio",
        "-kernel", str(kernel), "-initrd", str(initrd),
        "-append", f"console=ttyS0 quiet panic=-1 hermit.probe={token}",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = bytearray()
    try:
        hello = await asyncio.wait_for(_listen(running, said, token), seconds)
    except TimeoutError:
        return Verdict("qemu", f"under KVM the guest's kernel does not get to its first process in {seconds:.0f} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await _drain(running)
        await running.wait()
    if hello:
        return Verdict(kind, f"the guest's kernel boots under {'KVM' if kind == 'kvm' else 'emulation'}")
    words = said[-_TOLD:].decode(errors="replace").strip()
    return Verdict("qemu", f"QEMU ended before the guest's kernel was up{f': {words}' if words else ''}")


async def _drain(running: asyncio.subprocess.Process) -> None:
    """Read what is left: as long as there is something unread, asyncio does not see that the process has ended."""
    while running.stdout is not None and await running.stdout.read(_MOST_SAID):
        pass


async def _listen(running: asyncio.subprocess.Process, said: bytearray, token: str) -> bool:
    """Tell whether the guest said its word before the end of what it says."""
    word = re.compile(rb"^hermit: [0-9.]+ probe " + token.encode() + rb"\r?$", re.MULTILINE)
    if running.stdout is None:
        raise ValueError("its output must be a pipe")
    while data := await running.stdout.read(4096):
        said += data
        if word.search(said):
            return True
        del said[:-_MOST_SAID]
    return False


def _thd_key(program: str, kernel: Path, initrd: Path) -> str:
    """Name what a verdict depends on: this boot of the host, this QEMU, this kernel and what it starts."""
    status = os.stat(program)
    parts = [_BOOT_ID.read_text().strip(), f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"]
    for path in (kernel, initrd):
        try:
            with path.open("rb") as file:
                parts.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise CellError(f"{path} cannot be read: {error.strerror}", hint="hermit image build") from error
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _thd_kept(cache: Path, key: str) -> Verdict | None:
    """Give the verdict that is kept under this key; whatever else the file holds is no verdict."""
    try:
        found = json.loads(cache.read_bytes())
        if found["key"] == key and found["kind"] in {"kvm", "qemu"}:
            return Verdict(found["kind"], str(found["reason"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return None


def _thd_keep(cache: Path, key: str, verdict: Verdict) -> None:
    """Keep a verdict; where that cannot be, the next one is found in the same way."""
    fresh = cache.with_name(f".{cache.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.write_text(json.dumps({"key": key, **asdict(verdict)}))
        os.replace(fresh, cache)

"""Tries what a sandbox cell needs of this machine, and names the command that mends what is missing."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hermit_workers.cell import CellError, Limits
from hermit_workers.sandbox.limits.cgroups import Cgroup
from hermit_workers.sandbox.namespaces import idmap, mapped
from hermit_workers.sandbox.namespaces.holder import Holder, Layered

_TRIAL = 10.0
_NOT_FOUND = "bubblewrap is not installed"
# A switch that turns user namespaces off: file, what it says then, the command that mends it, whether root is held too.
_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000", True),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1", False),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0    (or an AppArmor profile with `userns,`)",
        False,
    ),
)
_REFUSED = (
    "the kernel refuses this process user namespaces (EPERM): it does in every chroot (user_namespaces(7); enter the"
    " folder by pivot_root in its place, as systemd-nspawn does), and a container's filter of system calls may"
    " (docker, podman: --security-opt seccomp=unconfined)"
)
# Ends with what the kernel says to a new user namespace, far from the statuses that Python has of its own.
_TRY = """\
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
raise SystemExit(100 + ctypes.get_errno() if libc.unshare(0x10000000) else 0)
"""
_STATUS = 100
_SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class Examined:
    """Is one thing that was tried: `fail` means that no build runs, `warn` that one runs with less."""

    level: Literal["ok", "warn", "fail"]
    name: str
    text: str
    hint: str | None = None


def examine_sandbox(data: Path) -> Iterator[Examined]:
    """Try everything; `data` is the folder, or will be, whose file system has images and what builds write."""
    ids = _ids()
    yield ids
    yield _bubblewrap()
    if ids.level == "ok":
        namespaces = asyncio.run(_namespaces())
        yield namespaces
        if namespaces.level == "ok":
            yield asyncio.run(_overlay(_existing(data)))
    yield _limits()


def _ids() -> Examined:
    try:
        found = idmap.find()
    except CellError as error:
        hint = error.hint or ""
        return Examined("fail", "cell users", str(error), as_root(hint[5:]) if hint.startswith("sudo ") else error.hint)
    missing = [tool for tool in ("newuidmap", "newgidmap") if shutil.which(tool, path=idmap.TOOLS) is None]
    if missing and os.geteuid():
        return Examined("fail", "cell users", f"{missing[0]} is not installed", as_root("apt-get install uidmap"))
    return Examined("ok", "cell users", f"ids {found.users} to {found.users + idmap.COUNT - 1} are the cells' own")


def _bubblewrap() -> Examined:
    program = shutil.which("bwrap")
    if program is None:
        return Examined("fail", "cell programs", _NOT_FOUND, as_root("apt-get install bubblewrap"))
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    lacking = [option for option in ("--pidns", "--json-status-fd", "--args", "--perms") if option not in said]
    if lacking:
        return Examined(
            "fail", "cell programs", f"this bubblewrap has no {lacking[0]}", "install bubblewrap 0.5 or newer"
        )
    return Examined("ok", "cell programs", "bubblewrap can enter the namespaces of a cell")


async def _namespaces() -> Examined:
    try:
        holder = await asyncio.wait_for(Holder.open(), _TRIAL)
    except (CellError, TimeoutError) as error:
        own = error.hint if isinstance(error, CellError) and error.hint != "hermit doctor" else None
        hint = refused_namespaces() or own or "docs/environment.md"
        return Examined("fail", "cell namespaces", str(error) or "not made in time", hint)
    holder.listener.close()
    await holder.close()
    return Examined("ok", "cell namespaces", "user, mount, network, ipc, uts and pid namespaces")


async def _overlay(folder: Path) -> Examined:
    """Mount a cell's tree where trees will be: not every file system can be below or above."""
    name = "cell layers"
    try:
        with tempfile.TemporaryDirectory(prefix=".hermit-doctor-", dir=folder) as trial:
            image, layer = Path(trial) / "image", Path(trial) / "layer"
            image.mkdir()
            try:
                holder = await asyncio.wait_for(Holder.open(tree=Layered(image, layer, 1 << 20)), _TRIAL)
                holder.listener.close()
                await holder.close()
            finally:
                await mapped.remove_tree(layer)
    except (CellError, OSError, TimeoutError) as error:
        hint = "put Hermit's folders (XDG_DATA_HOME, XDG_STATE_HOME) on ext4, xfs or btrfs; Linux 5.11 or newer"
        return Examined("fail", name, f"no overlay on {folder}: {error}", hint)
    return Examined("ok", name, f"an image on {folder} stays as it is under what a build writes")


def _limits() -> Examined:
    name = "cell limits"
    group = Cgroup.make(Limits())
    if group is None:
        text = (
            "no control group here: memory and processes are kept by rlimits and a watchdog, which looks now and then"
        )
        return Examined("warn", name, text, _delegation())
    try:
        command = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as anybody:
            group.add(anybody.pid)  # one that takes nobody holds nothing
            missing = {"memory", "processes"} - set(group.holds)
            anybody.communicate()
    finally:
        group.remove()
    if missing:
        text = (
            f"control groups keep no {' and no '.join(sorted(missing))} here; a watchdog does, which looks now and then"
        )
        return Examined("warn", name, text, "have the memory and pids controllers delegated to you")
    return Examined("ok", name, "the kernel keeps memory and processes (control groups)")


def refused_namespaces() -> str | None:
    """Say what keeps this user from making user namespaces, as what to do about it; None where nothing is known to."""
    for path, off, mend, everybody in _SWITCHES:
        try:
            if (everybody or os.geteuid()) and Path(path).read_text().strip() == off:
                return as_root(mend)
        except OSError:
            continue
    tried = subprocess.run([sys.executable, "-I", "-S", "-c", _TRY], capture_output=True, check=False)
    return _REFUSED if tried.returncode == _STATUS + errno.EPERM else None


def as_root(command: str) -> str:
    """Give a command as this user can run it: as it is, by sudo where there is one, else by whoever is root."""
    if os.geteuid() == 0:
        return command
    return f"sudo {command}" if shutil.which("sudo") else f"as root: {command}"


def _delegation() -> str:
    if _SYSTEMD.is_dir():
        return "run in a session with delegated control groups (systemd-run --user --scope)"
    return "nothing has to be mended; in a container, mount /sys/fs/cgroup so that this user may write there"


def _existing(folder: Path) -> Path:
    while not folder.is_dir():
        folder = folder.parent
    return folder

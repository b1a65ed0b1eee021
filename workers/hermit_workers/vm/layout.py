"""Lays out what a libvirtd of Hermit's own reads: programs, settings and folders, for root's and for a user's."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.cell import CellError
from hermit_workers.locks import alone
from hermit_workers.sandbox.namespaces.idmap import COUNT, ROOT_START

PACKAGES = ("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-x86")

# Who QEMU is where root starts it: an id that no account, container or cell has (see idmap.py).
_QEMU_USER = ROOT_START + COUNT

_INSTALL = f"sudo apt-get install --no-install-recommends {' '.join(PACKAGES)}"
PATH = os.defpath + ":/usr/sbin:/sbin"
_LONGEST = 107  # sockaddr_un
# The longest socket below the folder: libvirt shortens a domain's name to 20 letters there.
_BELOW_ROOTS = len("/run/libvirt-admin-sock")
_BELOW_OWN = len("/config/libvirt/qemu/lib/domain-999-/monitor.sock") + 20
# Where libvirt has its things for root, and the accounts that Debian and Fedora build it for.
_PLACES = {"config": "etc", "run": "run", "lib": "var/lib", "cache": "var/cache", "log": "var/log"}
_ASKED_FOR = ("libvirt-qemu", "qemu")

# One user at a socket in a folder that nobody else can enter needs no further proof of who that is.
_DAEMON = 'auth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_ro_perms = "0700"\nunix_sock_rw_perms = "0700"\n'
_DAEMON += 'log_outputs = "2:stderr"\n'
_LOGGER = "max_size = 1048576\nmax_backups = 1\n"
# Limits are the business of Hermit's own control groups, and libvirt would leave empty ones behind when it is killed.
_QEMU = 'stdio_handler = "logd"\nseccomp_sandbox = 1\ncgroup_controllers = []\ndump_guest_core = 0\n'
_QEMU += "max_core = 1\n"  # what it is held by already (bounds.py); libvirt's own is 0


def qemu_ids() -> tuple[int, int]:
    """Give the user and the group that QEMU runs as where root starts it: nobody's, and the group that may use KVM."""
    try:
        group = os.stat("/dev/kvm").st_gid
    except OSError:
        group = 0
    return _QEMU_USER, group or _QEMU_USER


@dataclass(frozen=True, slots=True)
class Programs:
    """Is where this machine has what is needed."""

    daemon: str
    logger: str
    client: str


def find_programs() -> Programs:
    """Find what is needed; raise CellError with the command that installs what is not there."""
    found = {name: shutil.which(name, path=PATH) for name in ("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64")}
    for name, path in found.items():
        if path is None:
            raise CellError(f"{name} is not installed, and VMs need it", hint=_INSTALL)
    return Programs(str(found["libvirtd"]), str(found["virtlogd"]), str(found["virsh"]))


def check_length(folder: Path) -> None:
    """Raise CellError where libvirt could open no socket below a folder."""
    most = _LONGEST - (_BELOW_OWN if os.geteuid() else _BELOW_ROOTS)
    if len(os.fsencode(folder)) > most:
        message = f"{folder} is too long for libvirt's sockets: at most {most} bytes"
        raise CellError(message, hint="set XDG_RUNTIME_DIR to a shorter path")


def take(folder: Path) -> int:
    """Make the folder, empty, and give a descriptor that holds it as long as it is open; raise CellError, OSError.

    What is in it was left by a process that was killed: the kernel dropped its lock, and its libvirtd ended with it.
    """
    with suppress(FileExistsError):  # a file perhaps: what follows says so
        folder.parent.mkdir(mode=0o711, parents=True)
    with alone(folder.parent):  # a sweep comes before or after, and never between a folder and its lock
        folder.mkdir(mode=0o711, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(held)
            message = f"another libvirtd of Hermit's runs in {folder}"
            raise CellError(message, hint="give this one another folder") from error
    try:
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
    except BaseException:
        os.close(held)
        raise
    return held


def prepare(folder: Path, cache: Path, programs: Programs) -> list[str]:
    """Make the folders and settings; give the binds and commands that born.main takes. Raises OSError."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _prepare_own(folder, programs) if os.geteuid() else _prepare_root(folder, cache, programs)


def _prepare_root(folder: Path, cache: Path, programs: Programs) -> list[str]:
    """Lay out root's folders; give the binds that put them where libvirt looks, and the commands."""
    places = {name: f"/{part}/libvirt" for name, part in _PLACES.items()}
    for name, place in places.items():
        Path(place).mkdir(mode=0o755, parents=True, exist_ok=True)
        if name != "cache":
            # QEMU runs as somebody else and comes through these.
            (folder / name).mkdir(mode=0o711)
    _write_settings(folder / "config", _QEMU + 'user = "+{}"\ngroup = "+{}"\n'.format(*qemu_ids()))
    binds = [f"{cache if name == 'cache' else folder / name}={place}" for name, place in places.items()]
    binds += [f"{_with_accounts(source, folder)}={source}" for source in (Path("/etc/passwd"), Path("/etc/group"))]
    config, run = places["config"], places["run"]
    return [*binds, *_commands(programs, Path(config), Path(run))]


def _with_accounts(source: Path, folder: Path) -> Path:
    """Copy a file of accounts with those that libvirt asks for before it reads whom to take instead."""
    text = source.read_text()
    rest = "" if source.name == "group" else f"{_QEMU_USER}::/nonexistent:/usr/sbin/nologin"
    for name in _ASKED_FOR:
        if f"\n{name}:" not in text:
            text += f"{name}:x:{_QEMU_USER}:{rest}\n"
    (folder / source.name).write_text(text)
    (folder / source.name).chmod(0o644)
    return folder / source.name


def _prepare_own(folder: Path, programs: Programs) -> list[str]:
    for name in ("run", "config", "data"):
        (folder / name).mkdir(mode=0o700)
    config = folder / "config" / "libvirt"
    config.mkdir(mode=0o700)
    _write_settings(config, _QEMU)
    return _commands(programs, config, folder / "run")


def _commands(programs: Programs, config: Path, run: Path) -> list[str]:
    logger = [programs.logger, "--config", str(config / "virtlogd.conf"), "--pid-file", str(run / "virtlogd.pid")]
    daemon = [programs.daemon, "--config", str(config / "libvirtd.conf"), "--pid-file", str(run / "libvirtd.pid")]
    return ["--", *logger, "--", *daemon]


def _write_settings(folder: Path, qemu: str) -> None:
    (folder / "libvirtd.conf").write_text(_DAEMON)
    (folder / "virtlogd.conf").write_text(_LOGGER)
    (folder / "qemu.conf").write_text(qemu)


def environment(folder: Path, cache: Path) -> dict[str, str]:
    """Give all that it sees of this process's environment; no bus, on which it would ask systemd for scopes."""
    return {
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(cache),
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/dev/null",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/dev/null",
    }

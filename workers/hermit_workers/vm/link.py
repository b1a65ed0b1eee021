"""Makes a build's one wire where Hermit is root: a network namespace with a tap, two sockets, and no way on."""

# By structure first: nothing is in the namespace but the tap and the libvirtd and QEMU of the machine, so there is
# nobody to reach, and whoever takes the rules away has gained nothing. The rules come on top and are there before the
# tap is.
#
# Every link has a file that its process holds a lock on; the kernel drops the lock with the process, and a sweep then
# knows that the link is nobody's.

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from hermit_workers.cell import CellError
from hermit_workers.locks import alone
from hermit_workers.vm.domain import MAC

# Those that QEMU's own network has, so that a guest need not know which it is on.
HOST, GUEST, BITS = "10.0.2.2", "10.0.2.15", 24

_PREFIX = "hv"
_NAMED = "/run/netns"  # ip-netns(8)
_PACKAGES = {"ip": "iproute2", "nft": "nftables"}
_PATH = os.defpath + ":/usr/sbin:/sbin"
_NEW_NET = 0x40000000
_RULES = """\
table inet hermit {{
  chain in {{
    type filter hook input priority 0; policy drop;
    iifname "{tap}" ether saddr {mac} ip saddr {guest} ip daddr {host} tcp dport {{ {ports} }} accept
  }}
  chain through {{ type filter hook forward priority 0; policy drop; }}
  chain out {{
    type filter hook output priority 0; policy drop;
    oifname "{tap}" ip saddr {host} ip daddr {guest} tcp sport {{ {ports} }} accept
  }}
}}
"""
# The kernel's own voices, each silenced: IPv6 speaks on every interface, and an echo asks for nothing's leave.
_SWITCHES = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/icmp_echo_ignore_all": "1",
    "ipv4/ip_forward": "0",
    "ipv4/conf/all/arp_ignore": "1",
    "ipv4/conf/all/accept_redirects": "0",
    "ipv4/conf/all/rp_filter": "1",
}
_libc = ctypes.CDLL(None, use_errno=True)
_Result = TypeVar("_Result")


def check_programs() -> None:
    """Raise CellError with the command that installs what a link is made with, and is not there."""
    for program, package in _PACKAGES.items():
        if shutil.which(program, path=_PATH) is None:
            raise CellError(f"{program} is not installed, and VMs need it", hint=f"sudo apt-get install {package}")


class Link:
    """Is one build's wire.

    States: open (the tap is down, for libvirt to take) -> wired (it is up, and both sockets listen) -> closed.
    """

    def __init__(self, name: str, ports: Sequence[int], file: Path, lock: int) -> None:
        """Take what `open` made."""
        self.tap = name
        self.namespace = Path(_NAMED, name)
        self._name = name
        self._ports = tuple(ports)
        self._file = file
        self._lock: int | None = lock

    @classmethod
    async def open(cls, folder: Path, ports: Sequence[int]) -> Self:
        """Make the namespace, its rules, and the tap; raise CellError where the kernel or a program is not there.

        `folder` is that of all links of this machine. What the guest sends before `wire` is lost: keep the machine
        paused until then.
        """
        return await asyncio.to_thread(cls._thd_open, folder, ports)

    async def wire(self) -> list[socket.socket]:
        """Have the tap up; give a listening socket for each port, which is all that is there."""
        return await asyncio.to_thread(self._thd_wire)

    async def close(self) -> None:
        """Take away the tap, the namespace and the file; doing it twice is safe."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            await asyncio.to_thread(_thd_remove, self._file, lock)

    @classmethod
    def _thd_open(cls, folder: Path, ports: Sequence[int]) -> Self:
        if os.geteuid() != 0:
            raise CellError("only root makes a build's network namespace", hint="without root: QEMU's own network")
        check_programs()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file, lock = _fresh(folder)
        except OSError as error:
            raise CellError(f"cannot write to {folder}: {error.strerror}", hint="make room") from error
        made = cls(file.name, ports, file, lock)
        try:
            made._thd_make()
        except BaseException:
            _thd_remove(file, lock)
            raise
        return made

    def _thd_make(self) -> None:
        _run("ip", "netns", "add", self._name)
        _inside(self._name, _silence)
        ports = ", ".join(str(int(port)) for port in self._ports)
        rules = _RULES.format(tap=self.tap, mac=MAC, guest=GUEST, host=HOST, ports=ports)
        _run("ip", "netns", "exec", self._name, "nft", "-f", "-", text=rules)
        _run("ip", "-netns", self._name, "tuntap", "add", "dev", self.tap, "mode", "tap")

    def _thd_wire(self) -> list[socket.socket]:
        if self._lock is None:
            raise CellError("the link is closed")
        steps = (
            f"address add {HOST}/{BITS} dev {self.tap} noprefixroute",
            f"link set dev {self.tap} up",
            # Nobody else is on it: of any address of the net that a guest claims the kernel would keep an entry, and
            # those of all namespaces are in one table, with room for 1,024.
            f"route add {GUEST}/32 dev {self.tap} scope link src {HOST}",
            # Whatever a guest says of who has which address, this entry stays.
            f"neighbour replace {GUEST} lladdr {MAC} nud permanent dev {self.tap}",
        )
        _run("ip", "-netns", self._name, "-batch", "-", text="\n".join(steps))
        return _inside(self._name, lambda: [_listen(port) for port in self._ports])


async def sweep(folder: Path) -> list[str]:
    """Remove the links of processes that have gone; give their names."""
    return await asyncio.to_thread(_thd_sweep, folder)


def _thd_sweep(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    found = []
    with alone(folder):
        for file in sorted(folder.glob(f"{_PREFIX}*")):
            try:
                lock = os.open(file, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:  # its own Hermit was faster
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            with suppress(CellError):  # what cannot be removed stays for the next sweep, and keeps nobody from building
                _thd_remove(file, lock)
                found.append(file.name)
    return found


def _thd_remove(file: Path, lock: int) -> None:
    """Remove what there is of a link: the tap may have gone with its machine."""
    try:
        name = file.name
        if Path(_NAMED, name).exists():
            _try("ip", "-netns", name, "link", "delete", "dev", name)
            _run("ip", "netns", "delete", name)
        file.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _fresh(folder: Path) -> tuple[Path, int]:
    file = folder / f"{_PREFIX}{secrets.token_hex(5)}"
    with alone(folder):
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return file, lock


def _inside(name: str, function: Callable[[], _Result]) -> _Result:
    """Call a function in a network namespace, by a thread that is gone afterwards: it could not be trusted again."""
    done: list[_Result] = []
    failed: list[BaseException] = []

    def _thd_run() -> None:
        try:
            descriptor = os.open(Path(_NAMED, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(descriptor, _NEW_NET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(descriptor)
            done.append(function())
        except BaseException as error:  # noqa: BLE001  raised again by who waits
            failed.append(error)

    thread = threading.Thread(target=_thd_run)
    thread.start()
    thread.join()
    if failed:
        raise CellError(f"in the network namespace {name}: {failed[0]}") from failed[0]
    return done[0]


def _silence() -> None:
    for name, value in _SWITCHES.items():
        # Which namespace's switches these are is decided by who opens them; a kernel without IPv6 has none for it.
        path = Path("/proc/sys/net", name)
        if path.exists():
            path.write_text(value)


def _listen(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen(socket.SOMAXCONN)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _run(*words: str, text: str | None = None) -> None:
    done = _try(*words, text=text)
    if done.returncode:
        raise CellError(f"`{' '.join(words)}` failed: {done.stderr.strip()}", hint="hermit doctor")


def _try(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
    return subprocess.run(words, input=text or "", capture_output=True, text=True, env=environment, check=False)

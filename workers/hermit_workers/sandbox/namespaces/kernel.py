"""Calls the kernel where Python 3.11 has no function for it; imported by the processes inside, so it stays tiny."""

from __future__ import annotations

import _socket
import ctypes
import fcntl
import os
import struct
import sys

NEW_USER, NEW_MOUNTS, NEW_NET, NEW_IPC = 0x10000000, 0x00020000, 0x40000000, 0x08000000
NEW_UTS, NEW_PIDS, NEW_CGROUP = 0x04000000, 0x20000000, 0x02000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
_MNT_DETACH = 2
_PDEATHSIG, _DUMPABLE, _SUBREAPER, _SIGKILL = 1, 4, 36, 9
_SIOCSIFFLAGS, _IFF_UP_LOOPBACK = 0x8914, 0x1 | 0x8
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones (unshare(2))."""
    _check(_libc.unshare(flags), "unshare")


def join(namespace: str, kind: int) -> None:
    """Enter a namespace that has a name in the file system (setns(2))."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, kind), f"setns {namespace}")
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount (mount(2)); raise OSError where the kernel does not."""
    words = (source.encode(), os.fsencode(target), kind.encode())
    _check(_libc.mount(*words, ctypes.c_ulong(flags), options.encode()), f"mount {kind}")


def unmount(target: str) -> None:
    """Take a mount out of sight at once, and away when nobody uses it."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def set_hostname(name: str) -> None:
    """Name the machine of this namespace."""
    _check(_libc.sethostname(name.encode(), len(name)), "sethostname")


def loopback_up() -> None:
    """Start the one interface of a new network namespace (netdevice(7))."""
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(any_socket.fileno(), _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_LOOPBACK))
    any_socket.close()


def die_with(parent: int) -> None:
    """Have the kernel kill this process with its parent; exit where the parent has gone already."""
    _check(_libc.prctl(_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent ends."""
    _check(_libc.prctl(_SUBREAPER, 1, 0, 0, 0), "prctl")


def be_open() -> None:
    """Let who started this process look at it again, after a change of user hid it."""
    _check(_libc.prctl(_DUMPABLE, 1, 0, 0, 0), "prctl")


def new_user_namespace(control: _socket.socket) -> None:
    """Make a user namespace and ask the other end of the socket to map its ids, by this process's number.

    This process still is the user to all files, and has every capability in the namespace.
    """
    unshare(NEW_USER)
    control.send(str(os.getpid()).encode())


def wait_for_ids(control: _socket.socket) -> None:
    """Wait until they are mapped; the answer is `go`, or the end of the socket."""
    if control.recv(16) != b"go":
        sys.exit(1)


def become_root() -> None:
    """Be the root of the user namespace, and the user no more."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)

"""Tries what only the kernel can refuse: mounts, namespaces, capabilities' calls, and rarely used interfaces."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import itertools
import os
import pty
import resource
import stat
import struct
from typing import Any

from tests.integration.hostile.inside.attempt import LIBC, attempt, call, checked, each, permitted

Task = dict[str, Any]
_NAMESPACES = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000}
_NAMESPACES |= {"net": 0x40000000, "time": 0x80}
_USER = 0x10000000
_KINDS = {**_NAMESPACES, "user": _USER}
_AT_FDCWD = -100
_ENDLESS = resource.RLIM_INFINITY & 0xFFFF_FFFF_FFFF_FFFF
_BUFFER = ctypes.create_string_buffer(4096)


def mount(source: str, kind: str, flags: int = 0, options: str = "", *, target: str) -> None:
    where = os.fsencode(target)
    checked(LIBC.mount(source.encode(), where, kind.encode(), ctypes.c_ulong(flags), options.encode()))


def folder(task: Task, name: str = "mount") -> str:
    """Make a folder for a mount where the task has room for it."""
    path = f"{task['scratch']}/{name}-{os.getpid()}"
    os.makedirs(path, exist_ok=True)
    return path


def overlay(task: Task) -> None:
    layers = [folder(task, name) for name in ("lower", "upper", "work")]
    options = "lowerdir={},upperdir={},workdir={}".format(*layers)
    mount("o", "overlay", options=options, target=folder(task))


def unmount(path: str) -> None:
    if not os.path.ismount(path):
        mount("tmpfs", "tmpfs", target=path)  # the control's: something to take away
    checked(LIBC.umount2(path.encode(), 2))


each(
    "mount",
    "open",
    {
        "tmpfs": lambda task: mount("t", "tmpfs", target=folder(task)),
        "proc": lambda task: mount("p", "proc", target=folder(task)),
        "sysfs": lambda task: mount("s", "sysfs", target=folder(task)),
        "devpts": lambda task: mount("d", "devpts", target=folder(task)),
        "mqueue": lambda task: mount("m", "mqueue", target=folder(task)),
        "overlay": overlay,
        "bind": lambda task: mount("/usr", "", 4096, target=folder(task)),
        "cgroup2": lambda task: mount("c", "cgroup2", target=folder(task)),
        "remount writable": lambda _: mount("", "", 0x20 | 4096, target="/"),
        "shared": lambda _: mount("", "", 0x100000 | 16384, target="/"),
        "unmount": lambda _: unmount("/proc/sys"),
        "fsopen": lambda _: call("fsopen", b"tmpfs", 0),
        "open_tree": lambda _: call("open_tree", _AT_FDCWD, b"/usr", 1),
        "fspick": lambda _: permitted("fspick", _AT_FDCWD, b"/dev/shm", 0),
        "move_mount": lambda _: permitted("move_mount", -1, b"", -1, b"", 0),
        "mount_setattr": lambda _: permitted("mount_setattr", _AT_FDCWD, b"/", 0, bytes(32), 32),
        "pivot_root": lambda _: permitted("pivot_root", b"/nowhere", b"/nowhere"),
    },
)
each(
    "namespace",
    "open",
    {name: lambda _, flag=flag: checked(LIBC.unshare(flag)) for name, flag in _NAMESPACES.items()}
    | {
        "user": lambda _: checked(LIBC.unshare(_USER)),
        "user by clone": lambda _: cloned(_USER),
        "user by a high word": lambda _: cloned(_USER | 1 << 40),
        "user by clone3": lambda _: clone3(_USER),
    },
)


def cloned(flags: int) -> None:
    child = call("clone", flags | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def clone3(flags: int) -> None:
    child = call("clone3", flags.to_bytes(8, "little") + bytes(24) + (17).to_bytes(8, "little") + bytes(48), 88)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@attempt("namespace setns", "open")
def enter(_: Task) -> None:
    """Enter the namespaces of the first process again."""
    for name in ("net", "ipc", "uts"):
        with open(f"/proc/1/ns/{name}") as file:
            checked(LIBC.setns(file.fileno(), 0))


each(
    "call",
    "host",
    {
        "reboot": lambda _: permitted("reboot", 1, 2, 3, 0),
        "kexec_load": lambda _: permitted("kexec_load", 0, 1, 0, 0xFFFF),
        "swapon": lambda _: permitted("swapon", b"/nowhere", 0),
        "acct": lambda _: permitted("acct", b"/nowhere"),
        "settimeofday": lambda _: permitted("settimeofday", 0, 0),
        "clock_adjtime": lambda _: permitted("clock_adjtime", 0, (0x4000).to_bytes(8, "little") + bytes(248)),
        "iopl": lambda _: call("iopl", 3),
        "syslog": lambda _: call("syslog", 3, _BUFFER, 4096),
        "bpf": lambda _: call("bpf", 0, struct.pack("IIII56x", 2, 4, 4, 1), 72),
        "perf_event_open": lambda _: call("perf_event_open", struct.pack("II104x", 1, 112), -1, 0, -1, 0),
        "userfaultfd": lambda _: call("userfaultfd", 0),
        "fanotify_init": lambda _: call("fanotify_init", 4, 0),
        "open_by_handle_at": lambda _: by_handle(),
        "priority": lambda _: os.setpriority(os.PRIO_PROCESS, 0, -20),
        "real time": lambda _: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "real time disk": lambda _: call("ioprio_set", 1, 0, 1 << 13),
        "longer queues": lambda _: raised(resource.RLIMIT_MSGQUEUE),
        "first to live": lambda _: write("/proc/self/oom_score_adj", "-1000"),
        "more memory locked": lambda _: raised(resource.RLIMIT_MEMLOCK),
        "init_module": lambda _: permitted("init_module", 0, 0, b""),
        "finit_module": lambda _: permitted("finit_module", -1, b"", 0),
    },
)
each(
    "name",
    "open",
    {
        "sethostname": lambda _: checked(LIBC.sethostname(b"x", 1)),
        "setdomainname": lambda _: call("setdomainname", b"x", 1),
        "in /proc": lambda _: write("/proc/sys/kernel/hostname", "x"),
    },
)
each(
    "keyring",
    "host",
    {
        "add_key": lambda _: call("add_key", b"user", b"hermit-test", b"x", 1, -2),
        "request_key": lambda _: permitted("request_key", b"user", b"hermit-test-none", 0, -2),
        "keyctl": lambda _: call("keyctl", 0, -3, 1),
        "of others": lambda _: os.path.getsize("/proc/keys") or read("/proc/keys") or False,
    },
)
each("io_uring", "host", {"setup": lambda _: call("io_uring_setup", 8, ctypes.create_string_buffer(120))})


def by_handle() -> None:
    """Open a file by what names it below all folders (name_to_handle_at gives the form, others can be guessed)."""
    permitted("open_by_handle_at", _AT_FDCWD, (8).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(8), 0)


def raised(kind: int) -> None:
    """Raise a hard limit; resource.setrlimit tells of the refusal in its own way."""
    hard = resource.getrlimit(kind)[1] & 0xFFFF_FFFF_FFFF_FFFF
    checked(LIBC.setrlimit(kind, struct.pack("QQ", hard, hard if hard == _ENDLESS else hard + 4096)))


def write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)


@attempt("terminal TIOCSTI", "host")
def keystrokes(_: Task) -> None:
    """Put a keystroke into a terminal, by the number and by one whose high word is set."""
    child, master = pty.fork()
    if child == 0:
        try:
            fcntl.ioctl(0, 0x5412, b"x")
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    _ended(child)
    os.close(master)


@attempt("terminal TIOCSTI again", "host")
def keystrokes_high(_: Task) -> None:
    child, master = pty.fork()
    if child == 0:
        result = LIBC.ioctl(0, ctypes.c_ulong(0x5412 | 1 << 32), b"x")
        os._exit(ctypes.get_errno() if result else 0)
    _ended(child)
    os.close(master)


@attempt("discipline null", "host")
def discipline(_: Task) -> None:
    """Give a terminal of its own another line discipline: the null one, which every kernel has; others are modules."""
    _, terminal = pty.openpty()
    fcntl.ioctl(terminal, 0x5423, struct.pack("i", 27))


@attempt("secret memory", "host")
def secret_memory(_: Task) -> None:
    """Take memory that is in no account of the process's: neither its own nor shared."""
    descriptor = call("memfd_secret", 0)
    os.ftruncate(descriptor, 1 << 20)


@attempt("handle namespace", "host")
def namespace_by_handle(_: Task) -> None:
    """Open the host's first namespaces by file handles (Linux 6.18): what they say is the same on every machine."""
    kinds = (("net", 7), ("mount", 6), ("cgroup", 4), ("pid", 3), ("user", 2), ("uts", 1), ("ipc", 0))
    for (name, below), identity in itertools.product(kinds, (*range(1, 9), *range(4096, 4105))):
        handle = struct.pack("=IiQII", 16, 0xF1, identity, _KINDS[name], 0xEFFFFFFF - below)
        try:
            call("open_by_handle_at", -10003, ctypes.create_string_buffer(handle), 0)
        except OSError:
            continue
        return
    raise OSError(errno.ENOSYS, "no handle")


def _ended(child: int) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(status, os.strerror(status))


each(
    "device",
    "host",
    {
        "made": lambda task: os.mknod(f"{task['scratch']}/null-{os.getpid()}", stat.S_IFCHR | 0o666, os.makedev(1, 3)),
        "disk made": lambda task: os.mknod(
            f"{task['scratch']}/disk-{os.getpid()}", stat.S_IFBLK | 0o600, os.stat("/").st_dev
        ),
        "whiteout": lambda task: os.mknod(f"{task['scratch']}/whiteout-{os.getpid()}", stat.S_IFCHR | 0o666, 0),
        "mem": lambda _: os.open("/dev/mem", os.O_RDONLY),
        "kmsg": lambda _: os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK),
        "disk": lambda task: os.open(task["disk"], os.O_RDONLY),
        "kvm": lambda _: os.open("/dev/kvm", os.O_RDWR),
        "fuse": lambda _: os.open("/dev/fuse", os.O_RDWR),
        "loop": lambda _: os.open("/dev/loop-control", os.O_RDWR),
        "uinput": lambda _: os.open("/dev/uinput", os.O_RDWR),
        "null changed": lambda _: os.chmod("/dev/null", stat.S_IMODE(os.stat("/dev/null").st_mode)),
        "null owned": lambda _: os.chown("/dev/null", os.getuid(), os.getgid()),
        "stdin's changed": lambda _: os.fchmod(0, 0o666),
    },
)
each("device node", "open", {"bound over": lambda _: mount("/dev/zero", "", 4096, target="/dev/null")})


@attempt("chroot escape", "open")
def out_of_chroot(task: Task) -> bool:
    """Leave a root by chroot(2), a folder that is open, and `..`: then look for what the host has."""
    here = os.open("/", os.O_RDONLY)
    os.chroot(folder(task, "jail"))
    if os.path.exists(task["marker"]):
        raise OSError(errno.EINVAL, "no jail")
    os.fchdir(here)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return os.path.exists(task["marker"])

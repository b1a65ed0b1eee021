"""Tries what belongs to others: processes, descriptors, variables, files and memory of host and other builds."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import stat
from collections.abc import Iterator
from typing import Any

from tests.integration.hostile.inside.attempt import LIBC, attempt, call, checked, each, permitted

Task = dict[str, Any]
_ATTACH, _SEIZE = 16, 0x4206


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def outside() -> Iterator[int]:
    """Give the processes that are in sight and none of this cell's own: those whose user is not of the cell."""
    for process in processes():
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                line = file.read()
        except OSError:
            continue
        if any(word in line for word in (b"pytest", b"hermit_workers", b"hermit_cli", b"hermit_proxy")):
            yield process


def signalled(task: Task) -> None:
    os.kill(task["victim"], 0)


def traced(request: int, process: int) -> None:
    """Attach, and let go again at once."""
    call("ptrace", request, process, 0, 0)
    os.kill(process, signal.SIGCONT)


def read_memory(process: int) -> None:
    own = ctypes.create_string_buffer(8)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(own), 8)
    with open(f"/proc/{process}/maps") as file:
        start = int(file.readline().split("-")[0], 16)
    theirs = (ctypes.c_size_t * 2)(start, 8)
    call("process_vm_readv", process, vector, 1, theirs, 1, 0)


def stolen_descriptor(process: int) -> None:
    call("pidfd_getfd", call("pidfd_open", process, 0), 0, 0)


each(
    "process",
    "host",
    {
        "seen": lambda _: any(outside()),
        "signal": signalled,
        "signal to hermit": lambda task: os.kill(task["hermit"], 0),
        "pidfd": lambda task: call("pidfd_open", task["victim"], 0),
        "descriptor": lambda task: stolen_descriptor(task["victim"]),
        "compared": lambda task: call("kcmp", task["victim"], task["victim"], 0, 0, 0),
        "priority": lambda task: os.setpriority(os.PRIO_PROCESS, task["victim"], 1),
        "processors": lambda task: os.sched_setaffinity(task["victim"], os.sched_getaffinity(0)),
        "pages": lambda task: permitted("move_pages", task["victim"], 0, 0, 0, 0, 0) and os.kill(task["victim"], 0),
        "neighbour": lambda task: os.kill(task["neighbour"], 0),
    },
)
each(
    "ptrace",
    "host",
    {
        "attach": lambda task: traced(_ATTACH, task["victim"]),
        "seize": lambda task: traced(_SEIZE, task["victim"]),
        "memory": lambda task: read_memory(task["victim"]),
        "mem": lambda task: os.open(f"/proc/{task['victim']}/mem", os.O_RDWR),
        "neighbour": lambda task: read_memory(task["neighbour"]),
    },
)


def names(task: Task) -> bool:
    """Look for what only the host's environment has, in every process."""
    for process in processes():
        try:
            with open(f"/proc/{process}/environ", "rb") as file:
                if task["secret"].encode() in file.read():
                    return True
        except OSError:
            continue
    return False


def everywhere(path: str) -> bool:
    """Look for a file of the host below every root and folder that any process or descriptor shows."""
    tops = ["", "/..", "/oldroot", "/newroot", "/mnt/root", "/srv"]
    for process in processes():
        tops += [f"/proc/{process}/root", f"/proc/{process}/cwd", f"/proc/{process}/cwd/../../../.."]
        try:
            tops += [f"/proc/{process}/fd/{name}" for name in os.listdir(f"/proc/{process}/fd")]
        except OSError:
            continue
    return any(os.path.exists(top + path) for top in tops)


each(
    "host's",
    "host",
    {
        "environment": names,
        "files": lambda task: everywhere(task["marker"]),
        "command lines": lambda _: any(outside()),
    },
)
each(
    "store",
    "host",
    {
        "read": lambda task: everywhere(task["store"]),
        "listed": lambda task: os.listdir(os.path.dirname(task["store"])),
    },
)


def lower(task: Task) -> bool:
    """Follow what mountinfo says of the layers: /proc/self/fd/N of another process."""
    found = [os.path.dirname(task["image"])]
    with open("/proc/self/mountinfo") as file:
        for line in file:
            for word in line.replace(",", " ").split():
                key, _, path = word.partition("=")
                if key in {"lowerdir", "upperdir", "workdir"}:
                    found += [f"/proc/{process}{path.removeprefix('/proc/self')}" for process in processes()]
    return any(os.path.isdir(path) for path in found)


each(
    "layer",
    "host",
    {
        "by its path": lambda task: everywhere(task["layers"]),
        "base by its path": lambda task: everywhere(task["image"]),
        "neighbour's": lambda task: everywhere(task["neighbour_layers"]),
        "through the mount's words": lower,
    },
)


@attempt("descriptor folder", "host")
def folders(task: Task) -> bool:
    """Go up from every descriptor that was inherited, and look for the host's marker there."""
    for number in (*range(3, 64), *task.get("inherited", ())):
        try:
            if not stat.S_ISDIR(os.fstat(number).st_mode):
                continue
            if os.access(task["marker"].lstrip("/"), os.F_OK, dir_fd=os.open("../" * 20, os.O_RDONLY, dir_fd=number)):
                return True
        except OSError:
            continue
    return False


@attempt("descriptor socket", "host")
def sockets(task: Task) -> bool:
    """Look for a socket, or an anonymous wire, among what was inherited."""
    for number in (*range(3, 64), *task.get("inherited", ())):
        try:
            kind = os.fstat(number).st_mode
            shown = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if stat.S_ISSOCK(kind) or shown.startswith("anon_inode:[event"):
            return True
    return False


def program(process: int) -> None:
    """Write into the program that a process runs, as runc's CVE-2019-5736 did: bubblewrap is the host's."""
    os.close(os.open(f"/proc/{process}/exe", os.O_WRONLY | os.O_APPEND))


def program_of(task: Task) -> None:
    """Busy is what whoever may write hears of a running program."""
    try:
        program(task["bubblewrap"])
    except OSError as error:
        if error.errno != errno.ETXTBSY:
            raise


each(
    "bubblewrap",
    "host",
    {
        "program": program_of,
        "root": lambda task: os.path.exists(f"/proc/{task['bubblewrap']}/root{task['marker']}"),
    },
)


def writable(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY))


each(
    "kernel file",
    "host",
    {
        path: lambda _, path=path: writable(path)
        for path in (
            *("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe"),
            *("/proc/sys/vm/overcommit_memory", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/kernel/panic"),
            *("/proc/sys/net/ipv4/ip_forward", "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/acpi/wakeup"),
            "/proc/sys/kernel/random/write_wakeup_threshold",
        )
    }
    | {
        path: lambda _, path=path: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        for path in ("/proc/kmsg", "/proc/slabinfo", "/proc/kpageflags", "/proc/vmallocinfo")
    },
)


def addresses(_: Task) -> bool:
    """Look for the kernel's own addresses."""
    with open("/proc/kallsyms") as file:
        return any(int(file.readline().split()[0], 16) for _ in range(10))


def ram(_: Task) -> bool:
    with open("/proc/iomem") as file:
        return any(int(line.split("-")[0], 16) for line in list(file)[1:3])


each(
    "kernel memory",
    "host",
    {
        "kcore": lambda _: len(os.pread(os.open("/proc/kcore", os.O_RDONLY), 16, 0)) > 0,
        "kallsyms": addresses,
        "iomem": ram,
        "timers": lambda _: len(os.pread(os.open("/proc/timer_list", os.O_RDONLY), 16, 0)) > 0,
        "keys": lambda _: len(os.pread(os.open("/proc/keys", os.O_RDONLY), 16, 0)) > 0,
    },
)


each(
    "sys",
    "host",
    {
        path: lambda _, path=path: os.listdir(path) if os.path.isdir(path) else writable(path)
        for path in (
            *("/sys/fs/cgroup", "/sys/class/net", "/sys/block", "/sys/module", "/sys/kernel/mm/ksm/run"),
            *("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/devices/system/cpu/cpu1/online", "/sys/fs"),
            "/sys/devices/virtual",
        )
    },
)
each(
    "memory of others",
    "host",
    {
        "segment": lambda task: checked(LIBC.shmget(task["segment"], 0, 0)),
        "neighbour's segment": lambda task: checked(LIBC.shmget(task["neighbour_segment"], 0, 0)),
        "queue": lambda task: checked(LIBC.mq_open(task["queue"].encode(), 0)),
        "file": lambda task: os.stat(f"/dev/shm/{task['shared']}"),  # noqa: S108  the host's
    },
)


def neighbour(task: Task) -> None:
    with socket.socket() as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", task["neighbour_tcp"]))


each("neighbour", "host", {"tcp": neighbour})

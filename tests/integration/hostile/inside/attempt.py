"""Keeps the attempts, and makes each in a process of its own: it may change, hang or kill what makes it."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal

# Where an attempt must succeed: straight on the host, or in namespaces of its own with every capability and no filter.
Control = Literal["host", "open"]
Attempt = Callable[[dict[str, Any]], object]
ATTEMPTS: dict[str, tuple[Control, Attempt]] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
_REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}
_SECONDS = 4
_NUMBERS = {
    "x86_64": {"pivot_root": 155, "acct": 163, "quotactl": 179, "settimeofday": 164, "reboot": 169, "swapon": 167}
    | {"init_module": 175, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "ioprio_set": 251}
    | {"perf_event_open": 298, "fanotify_init": 300, "open_by_handle_at": 304, "kcmp": 312, "finit_module": 313}
    | {"bpf": 321, "userfaultfd": 323, "process_vm_readv": 310, "syslog": 103, "clock_adjtime": 305, "iopl": 172}
    | {"setdomainname": 171, "clone": 56, "ptrace": 101, "move_pages": 279},
    "aarch64": {"pivot_root": 41, "acct": 89, "quotactl": 60, "settimeofday": 170, "reboot": 142, "swapon": 224}
    | {"init_module": 105, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219, "ioprio_set": 30}
    | {"perf_event_open": 241, "fanotify_init": 262, "open_by_handle_at": 265, "kcmp": 272, "finit_module": 273}
    | {"bpf": 280, "userfaultfd": 282, "process_vm_readv": 270, "syslog": 116, "clock_adjtime": 266}
    | {"setdomainname": 162, "clone": 220, "ptrace": 117, "move_pages": 239},
}
_COMMON = {"io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fspick": 433}
_COMMON |= {"pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442}
_COMMON |= {"memfd_secret": 447}


def attempt(name: str, control: Control) -> Callable[[Attempt], Attempt]:
    """Enter an attempt; what it raises or gives says what came of it (False: nothing)."""

    def enter(work: Attempt) -> Attempt:
        ATTEMPTS[name] = (control, work)
        return work

    return enter


def each(prefix: str, control: Control, table: dict[str, Attempt]) -> None:
    """Enter a table of attempts."""
    for name, work in table.items():
        ATTEMPTS[f"{prefix} {name}"] = (control, work)


def call(name: str, *arguments: Any) -> int:
    """Make a system call; raise OSError."""
    number = (_NUMBERS[platform.machine()] | _COMMON).get(name)
    if number is None:  # this processor has none: what it should do cannot be done
        raise OSError(errno.ENOSYS, name)
    return checked(LIBC.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]))


def checked(result: int) -> int:
    """Give what a C function gave; raise OSError where that is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def permitted(name: str, *arguments: Any) -> bool:
    """Make a system call with arguments that make no sense: the kernel looks at them after it has looked at who asks.

    So what could stop or change the machine can be tried on it: whoever may do it hears of the arguments.
    """
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in _REFUSED:
            raise
    return True


def tried(name: str, task: dict[str, Any]) -> str:
    """Make an attempt in a child and say what came of it: `reached`, `nothing`, or the error's name."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(_SECONDS)
        try:
            said = "nothing" if ATTEMPTS[name][1](task) is False else "reached"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, f"{type(error).__name__} {error}")
        except BaseException as error:  # noqa: BLE001  told to the test, which fails for what it does not know
            said = f"broken: {error!r}"
        os.write(writing, said.encode()[:500])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        said = answer.read().decode()
    _, status = os.waitpid(child, 0)
    return said or f"signal {signal.Signals(os.WTERMSIG(status)).name}"


def note(text: str) -> None:
    """Say something for people."""
    sys.stderr.write(text + "\n")

"""Runs the filter's program, by an interpreter of its own and by the kernel."""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
import tempfile

import pytest

from hermit_proxy.errors import HermitError
from hermit_workers.seccomp import (
    ALLOW,
    CLONE_NEWUSER,
    ERRNO,
    KILL_PROCESS,
    MACHINES,
    TIOCLINUX,
    TIOCSETD,
    TIOCSTI,
    program,
)

NO_SUCH_CALL, NOT_PERMITTED = ERRNO | errno.ENOSYS, ERRNO | errno.EPERM
NO_SUCH_FAMILY = ERRNO | errno.EAFNOSUPPORT
NO_SUCH_PROTOCOL = ERRNO | errno.EPROTONOSUPPORT
NO_SUCH_PAIR = ERRNO | errno.EOPNOTSUPP
NO_SUCH_TYPE = ERRNO | errno.ESOCKTNOSUPPORT
I386 = 0x40000003
TCGETS = 0x5401


def judge(code: bytes, audit: int, call: int, *arguments: int) -> int:
    """Interpret the classic BPF of the filter over a struct seccomp_data."""
    data = struct.pack("<iIQ6Q", call, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("<HBBI", code))
    accumulator = position = 0
    while True:
        operation, yes, no, operand = lines[position]
        position += 1
        if operation == 0x20:
            accumulator = int(struct.unpack_from("<I", data, operand)[0])
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x06:
            return int(operand)
        else:
            outcome = {
                0x15: accumulator == operand,
                0x35: accumulator >= operand,
                0x45: bool(accumulator & operand),
            }[operation]
            position += yes if outcome else no


CASES = [
    *(("socket", (family, 1), ALLOW) for family in (1, 2, 10, 16)),
    *(("socket", (family, 1), NO_SUCH_FAMILY) for family in (0, 17, 38, 40, 1 << 32 | 40)),
    *(("socket", (1, kind), ALLOW) for kind in (1, 2, 3, 5, 1 | 0o2000000, 5 | 0o4000, 1 << 32 | 2)),
    *(("socket", (2, kind), NO_SUCH_TYPE) for kind in (0, 4, 6, 10, 6 | 0o2000000 | 0o4000, 1 << 32 | 6, 15)),
    ("socket", (10, 6), NO_SUCH_TYPE),
    *(("socket", (family, 1, protocol), ALLOW) for family, protocol in ((2, 6), (2, 17), (2, 1), (10, 58), (2, 262))),
    ("socket", (1, 1, 1), ALLOW),
    *(("socket", (16, 3, protocol), ALLOW) for protocol in (0, 1 << 32)),
    *(("socket", (16, 3, protocol), NO_SUCH_PROTOCOL) for protocol in (*range(1, 23), 58, 262)),
    *(("socket", (2, 5, protocol), NO_SUCH_PROTOCOL) for protocol in (132, 33, 115, 136, 256, 1 << 32 | 132)),
    *(("socket", (1 << 32 | 2, 1, protocol), NO_SUCH_PROTOCOL) for protocol in (2, 4, 9, 16)),
    ("socketpair", (1, 1), ALLOW),
    ("socketpair", (1, 5 | 0o2000000, 4), ALLOW),
    ("socketpair", (1, 6), NO_SUCH_TYPE),
    *(
        ("socketpair", (family, 1, protocol), NO_SUCH_PAIR)
        for family, protocol in ((2, 132), (16, 16), (10, 6), (30, 0))
    ),
    *(("ioctl", (0, number), NOT_PERMITTED) for number in (0x8940, 0x8941, 0x8982, 0x8983)),
    ("ioctl", (0, TCGETS), ALLOW),
    ("ioctl", (0, TIOCSTI), NOT_PERMITTED),
    ("ioctl", (TIOCSTI, TCGETS), ALLOW),
    ("ioctl", (0, 1 << 32 | TIOCSTI), NOT_PERMITTED),
    ("ioctl", (0, TIOCLINUX), NOT_PERMITTED),
    ("ioctl", (0, TIOCSETD), NOT_PERMITTED),
    ("memfd_secret", (), NO_SUCH_CALL),
    ("io_uring_setup", (), NO_SUCH_CALL),
    ("io_uring_enter", (), NO_SUCH_CALL),
    ("io_uring_register", (), NO_SUCH_CALL),
    ("clone3", (), NO_SUCH_CALL),
    ("clone", (0x01200011,), ALLOW),
    ("clone", (0x01200011 | CLONE_NEWUSER,), NOT_PERMITTED),
    ("unshare", (0x20000,), ALLOW),
    ("unshare", (CLONE_NEWUSER,), NOT_PERMITTED),
    ("add_key", (), NOT_PERMITTED),
    ("request_key", (), NOT_PERMITTED),
    ("keyctl", (), NOT_PERMITTED),
    ("bpf", (), NOT_PERMITTED),
    ("perf_event_open", (), NOT_PERMITTED),
    ("syslog", (2,), NOT_PERMITTED),
    ("userfaultfd", (), NOT_PERMITTED),
]


@pytest.mark.parametrize("machine", sorted(MACHINES))
@pytest.mark.parametrize(("call", "arguments", "verdict"), CASES)
def test_each_call_gets_its_verdict(machine: str, call: str, arguments: tuple[int, ...], verdict: int) -> None:
    target = MACHINES[machine]
    assert judge(program(machine), target.audit, target.calls[call], *arguments) == verdict


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_every_other_call_is_allowed(machine: str) -> None:
    target = MACHINES[machine]
    others = set(range(470)) - set(target.calls.values())
    assert {judge(program(machine), target.audit, call, 40, TIOCSTI) for call in others} == {ALLOW}


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_call_of_another_architecture_kills(machine: str) -> None:
    for audit in {I386, *(other.audit for name, other in MACHINES.items() if name != machine)}:
        assert judge(program(machine), audit, 1) == KILL_PROCESS


def test_x32_calls_do_not_exist() -> None:
    assert judge(program("x86_64"), MACHINES["x86_64"].audit, 0x40000000 | 41, 1) == NO_SUCH_CALL


def test_an_unknown_machine_has_no_filter_and_so_no_sandbox() -> None:
    with pytest.raises(HermitError, match="riscv64"):
        program("riscv64")


PROBE = """
import ctypes, errno, socket, sys
socket.socket(socket.AF_INET).close()
libc = ctypes.CDLL(None, use_errno=True)
def attempt(call):
    ctypes.set_errno(0)
    return call() < 0 and ctypes.get_errno()
def vsock():
    try: socket.socket(40, 1); return 0
    except OSError as error: ctypes.set_errno(error.errno); return -1
print(attempt(vsock), attempt(lambda: libc.unshare(0x10000000)), attempt(lambda: libc.syscall(425, 1, None)),
      attempt(lambda: libc.ioctl(0, 0x5412, b"x")), attempt(lambda: libc.syscall(*{"x86_64": (250, 0, 1)}.get(
      __import__("platform").machine(), (219, 0, 1)))))
"""


@pytest.mark.parametrize("filtered", [True, False])
def test_the_kernel_takes_the_program_and_obeys_it(filtered: bool) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(program())
        file.seek(0)
        arguments = ["--seccomp", str(file.fileno())] if filtered else []
        command = ["bwrap", "--unshare-user", "--bind", "/", "/", *arguments, sys.executable, "-c", PROBE]
        done = subprocess.run(
            command, pass_fds=[file.fileno()], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
    refused = [errno.EAFNOSUPPORT, errno.EPERM, errno.ENOSYS, errno.EPERM, errno.EPERM]
    if filtered:
        assert done.stdout.split() == [str(number) for number in refused]
    else:  # the barrier is the filter's and not the kernel's own
        assert done.stdout.split()[1] == "False"
        assert str(errno.EPERM) not in done.stdout.split()


# What a socket is asked for with, and what the filter says to it; None where a build needs it.
SOCKETS = [
    ((2, 1, 0), None),
    ((2, 2, 17), None),
    ((10, 1, 6), None),
    ((1, 5, 0), None),
    ((16, 3, 0), None),
    ((16, 3, 9), errno.EPROTONOSUPPORT),  # audit
    ((16, 3, 16), errno.EPROTONOSUPPORT),  # generic
    ((2, 10, 0), errno.ESOCKTNOSUPPORT),  # a packet socket, by its old name
    ((2, 6, 0), errno.ESOCKTNOSUPPORT),  # DCCP, which newer kernels do not have
]
ASKING = """
import json, socket, sys
def ask(what):
    try: socket.socket(*what).close()
    except OSError as error: return error.errno
print(json.dumps([ask(what) for what in json.loads(sys.argv[1])]))
"""


def asked(*, filtered: bool) -> list[int | None]:
    with tempfile.TemporaryFile() as file:
        file.write(program())
        file.seek(0)
        arguments = ["--seccomp", str(file.fileno())] if filtered else []
        # In a network of its own as its root: there a packet socket is given to who asks for it.
        command = ["bwrap", "--unshare-user", "--uid", "0", "--cap-add", "ALL", "--unshare-net", "--bind", "/", "/"]
        command += [*arguments, sys.executable, "-c", ASKING, json.dumps([what for what, _ in SOCKETS])]
        done = subprocess.run(command, pass_fds=[file.fileno()], capture_output=True, text=True, check=True)
    found: list[int | None] = json.loads(done.stdout)
    return found


def test_the_kernel_gives_the_sockets_that_builds_need_and_no_others() -> None:
    assert asked(filtered=True) == [said for _, said in SOCKETS]
    there = dict(zip([what for what, _ in SOCKETS], asked(filtered=False), strict=True))
    assert {what: there[what] for what, said in SOCKETS if said is None} == dict.fromkeys(
        what for what, said in SOCKETS if said is None
    )
    for what in ((16, 3, 16), (2, 10, 0)):  # the barrier is the filter's and not the kernel's own
        assert there[what] is None, there

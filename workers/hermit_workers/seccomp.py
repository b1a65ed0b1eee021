"""Assembles the filter that takes the kernel's other wires from a cell: what namespaces do not cut, this does."""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Collection
from dataclasses import dataclass

from hermit_proxy.errors import HermitError

# linux/seccomp.h
KILL_PROCESS = 0x80000000
ALLOW = 0x7FFF0000
ERRNO = 0x00050000

# linux/filter.h; offsets into struct seccomp_data. Both machines are little-endian, so the low word of an
# argument comes first. The arguments judged here are ints to the kernel: it drops the high word as well.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _KEEP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16

FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: not vsock, not packet, not bluetooth
LOCAL, NETLINK = 1, 16
# Streams, datagrams, raw, packets in order (local sockets only). Not DCCP, which is asked for by its type as well as by
# its protocol, and not the type by which the kernel gives a packet socket for AF_INET.
TYPES = (1, 2, 3, 5)
_TYPE_BITS = 0xF  # the others say non-blocking and close-on-exec
# TCP, UDP, ICMP, MPTCP. The kernel loads a module for any other that a socket is asked for, SCTP and L2TP among them,
# whoever asks.
PROTOCOLS = (0, 1, 6, 17, 58, 262)
# Routes and addresses, which every resolver asks for. The others are the kernel's own business, or load modules for
# whoever asks (sock_diag, generic). "No such protocol" is what a kernel without audit says, so useradd(8) goes on.
NETLINK_PROTOCOLS = (0,)
CLONE_NEWUSER = 0x10000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # both put keystrokes into the terminal of the caller's caller
TIOCSETD = 0x5423  # loads modules as well: line disciplines, for modems
# Of any socket: SIOCGIFBR, SIOCSIFBR, SIOCGIFVLAN, SIOCSIFVLAN load the modules of bridges and VLANs for whoever asks.
OF_INTERFACES = (0x8940, 0x8941, 0x8982, 0x8983)
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class Machine:
    """Is a processor as the kernel's audit code knows it, with the numbers of the calls that are judged."""

    audit: int
    calls: dict[str, int]
    x32: bool = False


_COMMON = {"clone3": 435, "io_uring_enter": 426, "io_uring_register": 427, "io_uring_setup": 425}
_COMMON |= {"memfd_secret": 447}
MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        x32=True,
        calls=_COMMON
        | {"add_key": 248, "clone": 56, "ioctl": 16, "keyctl": 250, "request_key": 249}
        | {"socket": 41, "socketpair": 53, "unshare": 272}
        | {"bpf": 321, "perf_event_open": 298, "syslog": 103, "userfaultfd": 323},
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        calls=_COMMON
        | {"add_key": 217, "clone": 220, "ioctl": 29, "keyctl": 219, "request_key": 218}
        | {"socket": 198, "socketpair": 199, "unshare": 97}
        | {"bpf": 280, "perf_event_open": 241, "syslog": 116, "userfaultfd": 282},
    ),
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """Is one struct sock_filter: `yes` and `no` count the instructions that a jump skips."""

    code: int
    operand: int
    yes: int = 0
    no: int = 0


def program(machine: str | None = None) -> bytes:
    """Give the BPF program for `bwrap --seccomp`; the machine is named as uname(2) does, this one by default.

    A call of another architecture kills the process (its numbers mean other calls), x32 calls do not exist. Nested user
    namespaces are refused, because they hand out capabilities; clone3 does not exist, because its
    flags are behind a pointer, and libraries then use clone. io_uring does not exist, because it opens sockets that no
    filter sees; nor does memfd_secret, whose memory no watchdog sees. Kernel keyrings are shared beyond namespaces, and
    so are the kernel's log and its counters.
    """
    name = machine or platform.machine()
    try:
        target = MACHINES[name]
    except KeyError as error:
        raise HermitError(f"the sandbox has no system call filter for {name} processors") from error
    calls = target.calls
    lines = [Instruction(_LOAD, _MACHINE), Instruction(_EQUAL, target.audit, yes=1), _verdict(KILL_PROCESS)]
    lines.append(Instruction(_LOAD, _NUMBER))
    if target.x32:
        lines += [Instruction(_AT_LEAST, _X32, no=1), _refusal(errno.ENOSYS)]
    for call in ("io_uring_setup", "io_uring_enter", "io_uring_register", "clone3", "memfd_secret"):
        lines += _refuse(calls[call], errno.ENOSYS)
    for call in ("add_key", "request_key", "keyctl", "bpf", "perf_event_open", "syslog", "userfaultfd"):
        lines += _refuse(calls[call], errno.EPERM)
    lines += _refuse_unless(calls["socket"], 0, FAMILIES, errno.EAFNOSUPPORT)
    # The kernel makes both sockets, and loads their modules, before it finds that a family has no pairs.
    lines += _refuse_unless(calls["socketpair"], 0, (LOCAL,), errno.EOPNOTSUPP)
    for call in ("socket", "socketpair"):
        lines += _guarded(calls[call], 1, [Instruction(_KEEP_BITS, _TYPE_BITS), *_unless(TYPES, errno.ESOCKTNOSUPPORT)])
    lines += _protocols(calls["socket"])
    lines += _refuse_when(calls["ioctl"], 1, (TIOCSTI, TIOCLINUX, TIOCSETD, *OF_INTERFACES), errno.EPERM)
    for call in ("clone", "unshare"):
        lines += _refuse_bit(calls[call], 0, CLONE_NEWUSER, errno.EPERM)
    lines.append(_verdict(ALLOW))
    return b"".join(struct.pack("<HBBI", line.code, line.yes, line.no, line.operand) for line in lines)


def _verdict(value: int) -> Instruction:
    return Instruction(_RETURN, value)


def _refusal(number: int) -> Instruction:
    return _verdict(ERRNO | number)


def _refuse(call: int, number: int) -> list[Instruction]:
    return [Instruction(_EQUAL, call, no=1), _refusal(number)]


def _guarded(call: int, argument: int, tests: list[Instruction]) -> list[Instruction]:
    """Run the tests on one argument of one call; what follows finds the call's number loaded again."""
    body = [Instruction(_LOAD, _ARGUMENTS + 8 * argument), *tests, Instruction(_LOAD, _NUMBER)]
    return [Instruction(_EQUAL, call, no=len(body)), *body]


def _unless(allowed: Collection[int], number: int) -> list[Instruction]:
    tests = [Instruction(_EQUAL, value, yes=len(allowed) - index) for index, value in enumerate(allowed)]
    return [*tests, _refusal(number)]


def _refuse_unless(call: int, argument: int, allowed: Collection[int], number: int) -> list[Instruction]:
    return _guarded(call, argument, _unless(allowed, number))


def _protocols(call: int) -> list[Instruction]:
    """Judge the protocol, whose numbers mean something else for netlink."""
    for_netlink, for_others = (
        [Instruction(_LOAD, _ARGUMENTS + 8 * 2), *_unless(allowed, errno.EPROTONOSUPPORT)]
        for allowed in (NETLINK_PROTOCOLS, PROTOCOLS)
    )
    return [
        *_guarded(call, 0, [Instruction(_EQUAL, NETLINK, no=len(for_netlink)), *for_netlink]),
        *_guarded(call, 0, [Instruction(_EQUAL, NETLINK, yes=len(for_others)), *for_others]),
    ]


def _refuse_when(call: int, argument: int, refused: Collection[int], number: int) -> list[Instruction]:
    tests = [line for value in refused for line in _refuse(value, number)]
    return _guarded(call, argument, tests)


def _refuse_bit(call: int, argument: int, bit: int, number: int) -> list[Instruction]:
    return _guarded(call, argument, [Instruction(_ANY_BIT, bit, no=1), _refusal(number)])

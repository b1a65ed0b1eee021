"""Is the first process of the namespaces that libvirtd lives in: when it ends, for whatever reason, no VM is left."""

# Started by libvirtd.py, once: of ours it imports nothing but kernel.py. QEMU outlives a libvirtd that is killed, and
# the next libvirtd has forgotten that the VM was to end with its client. No process outlives the first of its pid
# namespace.

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from select import POLLIN, poll

from hermit_workers.sandbox.namespaces import kernel

_FAILED = 125
_NOT_FOUND = 127
_MS_SLAVE = 1 << 19


def main(arguments: list[str]) -> int:
    """Take the parent's number, a wire, limits, the binds (`from=to`), and after a `--` each, two commands.

    It goes on when it has read a byte from its standard input: then who started it has seen to its control group. The
    limits (`RLIMIT_DATA=1048576,...`) hold it and all that it starts. The wire is a link's network namespace where root
    has made one, `-` for one in which nothing is, or a socket's number, which is an ordinary user's way: it sends the
    ports that are to be there in a network namespace in which there is nothing else, and gets the sockets that listen
    on them.
    """
    parent, wire, limits, *rest = arguments
    first = rest.index("--")
    second = rest.index("--", first + 1)
    binds, commands = rest[:first], [rest[first + 1 : second], rest[second + 1 :]]
    kernel.die_with(int(parent))
    if not os.read(0, 1):
        return _FAILED
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    read, write = os.pipe()
    try:
        _hold(limits)
        _leave(wire)
        if wire.isdigit():
            _give_ports(int(wire))
        child = os.fork()  # the next child is the first process of the new pid namespace
        if child == 0:
            os.close(write)
            _be_first(read, binds, commands)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"hermit: no namespaces for libvirtd: {error}\n")
        return _FAILED
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


def _hold(limits: str) -> None:
    for word in filter(None, limits.split(",")):
        name, _, value = word.partition("=")
        resource.setrlimit(getattr(resource, name), (int(value), int(value)))


def _leave(wire: str) -> None:
    """Leave the host's namespaces: whoever gets out of a guest and into its QEMU has no more of a network than it."""
    uid, gid = os.geteuid(), os.getegid()
    new = kernel.NEW_IPC | kernel.NEW_MOUNTS | kernel.NEW_PIDS
    if not wire.isdigit():
        if wire == "-":
            new |= kernel.NEW_NET
        else:
            kernel.join(wire, kernel.NEW_NET)
        kernel.unshare(new)
        return
    kernel.unshare(kernel.NEW_USER | kernel.NEW_NET | new)
    # The user stays the user: for uid 0 libvirt would look for root's folders and devices.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    kernel.loopback_up()


def _give_ports(number: int) -> None:
    """Listen where a guest's gateway is, for QEMU's own network that is the loopback, and hand over the sockets."""
    with socket.socket(fileno=number) as control:
        made = [socket.create_server(("127.0.0.1", int(port)), backlog=4096) for port in control.recv(1024).split()]
        socket.send_fds(control, [b"ports"], [one.fileno() for one in made])
        for one in made:
            one.close()


def _be_first(parents: int, binds: list[str], commands: list[list[str]]) -> None:
    """Mount, start both commands, collect whoever ends, and end with the first of the two."""
    try:
        kernel.die_with(0)  # the parent is outside, and has no number in here
        watch = poll()
        watch.register(parents, POLLIN)
        if watch.poll(0):  # the parent's end of the pipe was closed before
            os._exit(_FAILED)
        kernel.mount("none", "/", "", kernel.MS_REC | _MS_SLAVE)
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        for bind in binds:
            source, _, target = bind.partition("=")
            kernel.mount(source, target, "", kernel.MS_BIND)
        started = [_start(command) for command in commands]
        while True:
            ended, status = os.wait()
            if ended in started:
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    except OSError as error:
        sys.stderr.write(f"hermit: no namespaces for libvirtd: {error}\n")
        sys.stderr.flush()
        os._exit(_FAILED)


def _start(command: list[str]) -> int:
    child = os.fork()
    if child == 0:
        try:
            os.execv(command[0], command)  # noqa: S606  no shell
        except OSError as error:
            sys.stderr.write(f"hermit: {command[0]}: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(_NOT_FOUND)
    return child

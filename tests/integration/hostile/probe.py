"""Tries, wherever it runs, every way to the host that it was told of; prints what was reached as one JSON object."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# x86_64 and aarch64 share these numbers.
_IO_URING_SETUP = 425


def attempt(work: Callable[[], object]) -> str:
    """Say what came of an attempt."""
    try:
        return "reached" if work() is not False else "nothing"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))


def tcp(host: str, port: int) -> bool:
    """Connect and get an answer."""
    with socket.create_connection((host, port), 2) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return bool(sock.recv(10))


def udp(port: int) -> None:
    """Send to a connected address, which fails where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.send(b"x")
        sock.settimeout(0.3)
        try:
            sock.recv(1)
        except TimeoutError:
            return


def unix(kind: int, name: str) -> None:
    """Connect to a unix socket."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.settimeout(2)
        sock.connect(name)


def family(number: int, kind: int) -> None:
    """Make a socket."""
    socket.socket(number, kind).close()


def hidden(path: str) -> bool:
    """Look for anything in a file or folder."""
    if os.path.isdir(path):
        return bool(os.listdir(path))
    with open(path, "rb") as file:
        return bool(file.read(1))


def call(work: Callable[[], int]) -> bool:
    """Make a system call in a child, because it may change or kill the process."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() >= 0 else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def own_addresses() -> list[str]:
    """Give the addresses that the name of the machine and a route to anywhere lead to."""
    found = set()
    for version, far in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(version, socket.SOCK_DGRAM) as sock:
                sock.connect((far, 9))
                found.add(str(sock.getsockname()[0]))
        except OSError:
            continue
    return sorted(found)


def through_proxy(url: str) -> str:
    """Ask as any client does."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  the test's own URL
            return str(answer.read().decode())
    except OSError as error:
        return str(error)


def inherited_sockets() -> list[str]:
    """Name the sockets among the descriptors beyond the three."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) > 2 and target.startswith("socket:"):
            found.append(target)
    return found


def others() -> list[str]:
    """Name the processes of Hermit, or of the host, that are in sight."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            own = "probe.py" in line  # the probe itself, and bubblewrap, whose command line names it
            if not own and any(name in line for name in ("hermit_proxy", "hermit_cli", "-m pytest", "bin/pytest")):
                found.append(line[:80])
    return found


def main(task: dict[str, Any]) -> None:
    """Try everything."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: dict[str, Any] = {}
    for host in ("127.0.0.1", "127.0.0.2", "::1", "0", "localhost", *own_addresses()):
        found[f"tcp {host}"] = attempt(lambda host=host: tcp(host, task["tcp"]))
    found["udp 127.0.0.1"] = attempt(lambda: udp(task["udp"]))
    found["abstract"] = attempt(lambda: unix(socket.SOCK_STREAM, task["abstract"]))
    for path, kind in zip(task["unix"], (socket.SOCK_STREAM, socket.SOCK_DGRAM), strict=True):
        found[f"unix {path}"] = attempt(lambda path=path, kind=kind: unix(kind, path))
    for name, number, kind in (
        ("vsock", 40, 1),
        ("packet", 17, 3),
        ("alg", 38, 5),
        ("can", 29, 3),
        ("bluetooth", 31, 5),
        ("xdp", 44, 3),
    ):
        found[f"family {name}"] = attempt(lambda number=number, kind=kind: family(number, kind))
    for path in task["hidden"]:
        found[f"hidden {path}"] = attempt(lambda path=path: hidden(path))
    found["kernel new user namespace"] = attempt(lambda: call(lambda: libc.unshare(_CLONE_NEWUSER)))
    found["kernel new network"] = attempt(lambda: call(lambda: libc.unshare(_CLONE_NEWNET)))
    found["kernel io_uring"] = attempt(
        lambda: call(lambda: libc.syscall(_IO_URING_SETUP, 8, ctypes.create_string_buffer(120)))
    )
    found["kernel mount"] = attempt(lambda: call(lambda: libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)))
    found["kernel core_pattern"] = attempt(lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)))
    found["kernel raw socket"] = attempt(lambda: family(socket.AF_INET, socket.SOCK_RAW))
    found["kernel init's root"] = attempt(
        lambda: call(lambda: 0 if os.readlink("/proc/1/exe").endswith("systemd") else -1)
    )
    found["sockets inherited"] = inherited_sockets()
    found["processes of others"] = others()
    found["interfaces"] = [name for _, name in socket.if_nameindex()]
    found["proxy"] = through_proxy(task["good"])
    print(json.dumps(found))  # noqa: T201  the report


if __name__ == "__main__":
    with open(sys.argv[1]) as task_file:
        main(json.load(task_file))

"""Offers on the host whatever a build's attack may look for: sockets, files, processes, memory."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.integration.hostile.inside import neighbour
from tests.integration.hostile.wire import Hostile

SECRET = "the-words-that-only-the-host-knows"
_IPC_RMID = 0


@contextmanager
def victims(folder: Path, image: Path) -> Iterator[dict[str, Any]]:
    """Offer on the host whatever an attack may look for; give the attackers' task."""
    with ExitStack() as stack:
        victim = stack.enter_context(Hostile(address="0.0.0.0"))  # noqa: S104  to be found at every address
        stack.enter_context(Hostile(address="::", port=victim.port))
        for name in ("marker", "store/body", "state/run"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(SECRET)
        paths = [str(folder / "stream.sock"), str(folder / "datagram.sock")]
        names = [f"\0hermit-hostile-{os.getpid()}", f"\0hermit-neighbour-{os.getpid()}"]
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_STREAM)
        for name, kind in zip((*paths, names[0]), kinds, strict=True):
            listening = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            listening.bind(name)
            if kind != socket.SOCK_DGRAM:
                listening.listen()
        sleeping = subprocess.Popen(["sleep", "600"])
        stack.callback(sleeping.wait)
        stack.callback(sleeping.kill)
        task = {
            "tcp": victim.port,
            "udp": stack.enter_context(_answering(socket.AF_INET, "0.0.0.0")),  # noqa: S104  as above
            "udp6": stack.enter_context(_answering(socket.AF_INET6, "::1")),
            "addresses": _addresses(),
            "name": "localhost.localdomain" if _resolves("localhost.localdomain") else socket.gethostname(),
            "abstract": names[0],
            "neighbour_abstract": names[1],
            "neighbour_tcp": _free_port(),
            "segment": os.getpid() | 1 << 28,
            "neighbour_segment": os.getpid() | 1 << 29,
            "unix": paths,
            "marker": str(folder / "marker"),
            "store": str(folder / "store/body"),
            "layers": str(folder / "cell/layers"),
            "neighbour_layers": str(folder / "next/layers"),
            "image": str(image / "etc/passwd"),
            "scratch": str(folder),
            "disk": _disk(),
            "queue": f"/hermit-hostile-{os.getpid()}",
            "shared": f"hermit-hostile-{os.getpid()}",
            "secret": SECRET,
            "victim": sleeping.pid,
            "hermit": os.getpid(),
        }
        stack.callback(_forget, task)
        _remember(task)
        for sock in neighbour.offered(task):
            stack.enter_context(sock)
        yield task


def _remember(task: dict[str, Any]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.shmget(task["segment"], 4096, 0o1666) != -1
    assert libc.mq_open(task["queue"].encode(), os.O_CREAT | os.O_RDWR, 0o666, None) != -1
    Path("/dev/shm", task["shared"]).write_text(SECRET)  # noqa: S108  that is the host's


def _forget(task: dict[str, Any]) -> None:
    libc = ctypes.CDLL(None)
    for name in ("segment", "neighbour_segment"):
        libc.shmctl(libc.shmget(task[name], 0, 0), _IPC_RMID, None)
    libc.mq_unlink(task["queue"].encode())
    Path("/dev/shm", task["shared"]).unlink(missing_ok=True)  # noqa: S108  that is the host's


@contextmanager
def _answering(kind: int, address: str) -> Iterator[int]:
    """Answer datagrams; give the port."""
    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        over = False

        def answer() -> None:
            while not over:
                octets, sender = sock.recvfrom(512)
                sock.sendto(octets, sender)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield port
        over = True
        with socket.socket(kind, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1" if kind == socket.AF_INET else "::1", port))
        thread.join()


def _addresses() -> list[str]:
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("198.51.100.1", 9))
        return [str(sock.getsockname()[0])]
    return []


def _resolves(name: str) -> bool:
    with suppress(OSError):
        return bool(socket.getaddrinfo(name, 80))
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _disk() -> str:
    """Name the device that the root is on, or whatever comes near to it."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, place, *_ = line.split()
        if place == "/" and device.startswith("/dev/"):
            return device
    return "/dev/vda"

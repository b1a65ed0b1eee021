"""Puts the network 20 ms away: a network namespace of our own whose way out holds every packet for a while.

    distance.py [MS]    how long a connection takes through it, how much it carries, and what that costs; as root

Two tun devices, one in the namespace and one outside, lead packets through `carrier.py`; nftables gives what comes out
the machine's own address. A guard takes back what outlives a process, however this one ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.errors import HermitError

_NEWNET = 0x40000000
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TUN, _NO_PI, _VNET_HDR = 0x0001, 0x1000, 0x4000
# Checksums and segments are left to whoever sends them on at last, as between a machine and its network card.
_OFFLOADS = 0x01 | 0x02  # TUN_F_CSUM, TUN_F_TSO4
# Of the range for benchmarks (RFC 2544): the ends of the way.
_INSIDE, _OUTSIDE = "198.18.97.2", "198.18.97.1"
_TABLE = "hermit_distance"
_RULES = f"""
add table ip {_TABLE}
delete table ip {_TABLE}
table ip {_TABLE} {{
    chain out {{ type nat hook postrouting priority 100; ip saddr {_INSIDE} masquerade; }}
}}
"""
# Told the file that lets packets through and the rules. It stays until its standard input ends, as it does however
# whoever holds the other end has ended, and then puts everything back.
_GUARD = f"""
trap '' INT TERM HUP
exec 9< "$1"
flock -w 60 9 || {{ echo 'another one is in use' >&2; exit 1; }}
read -r before < "$1"
nft "$2" || exit 1
echo 1 > "$1"
echo ready
cat > /dev/null
echo "$before" > "$1"
nft delete table ip {_TABLE}
"""
_CARRIER = Path(__file__).resolve().with_name("carrier.py")
_CONNECTS = 7
_PATIENCE = 5.0  # seconds for a connection


@dataclass(frozen=True)
class Way:
    """Is how builds reach the network: `away` ms of round trip further than this machine does, 0 for as it does."""

    away: int = 0
    namespace: int | None = None
    carrier: int | None = None

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and the processes that it starts, use this way."""
        if self.namespace is None:
            yield
            return
        with _home() as home:
            _enter(self.namespace)
            try:
                yield
            finally:
                _enter(home)

    def processor(self) -> float:
        """Give the processor seconds that carrying has used so far."""
        return 0.0 if self.carrier is None else time.clock_gettime(~self.carrier << 3 | 2)

    def connect(self, places: Iterable[tuple[str, int]]) -> float:
        """Give the median seconds that a TCP connection takes to those of `places` that can be reached at all."""
        seconds, troubles = [], []
        with self.entered():
            for place in places:
                try:
                    family, kind, _, _, address = socket.getaddrinfo(*place, socket.AF_INET, socket.SOCK_STREAM)[0]
                    for _ in range(_CONNECTS):
                        with socket.socket(family, kind) as sock:
                            sock.settimeout(_PATIENCE)
                            begin = time.perf_counter()
                            sock.connect(address)
                            seconds.append(time.perf_counter() - begin)
                except OSError as error:
                    troubles.append(f"{place[0]}:{place[1]}: {error}")
        if not seconds:
            raise HermitError(
                f"nothing can be reached {self.away} ms away: {'; '.join(troubles) or 'no registry is known'}",
                hint="the resolver must be another machine, and nothing may keep packets from being forwarded",
            )
        return statistics.median(seconds)


@contextlib.contextmanager
def away(milliseconds: int) -> Iterator[Way]:
    """Make a way with so much more round trip, and leave nothing of it; raise HermitError where that cannot be."""
    if not milliseconds:
        yield Way()
        return
    if os.geteuid():
        raise HermitError("a distance needs root", hint="as root, or with --away 0 for the network as it is")
    device, mtu = _way_out()
    with contextlib.ExitStack() as stack:
        _begin(stack, ["sh", "-c", _GUARD, "sh", f"/proc/sys/net/ipv4/conf/{device}/forwarding", _RULES])
        outside, name = _tun()
        stack.callback(os.close, outside)
        _ip("addr", "add", f"{_OUTSIDE}/30", "dev", name)
        _ip("link", "set", name, "mtu", mtu, "up")
        Path(f"/proc/sys/net/ipv4/conf/{name}/forwarding").write_text("1")
        namespace = _namespace()
        stack.callback(os.close, namespace)
        with Way(namespace=namespace).entered():
            inside, name = _tun()
            stack.callback(os.close, inside)
            _ip("link", "set", "lo", "up")
            _ip("addr", "add", f"{_INSIDE}/30", "dev", name)
            _ip("link", "set", name, "mtu", mtu, "up")
            _ip("route", "add", "default", "via", _OUTSIDE)
        words = [sys.executable, "-I", str(_CARRIER), str(outside), str(inside), str(milliseconds / 2000)]
        carrier = _begin(stack, words, (outside, inside))
        yield Way(milliseconds, namespace, carrier)


def _begin(stack: contextlib.ExitStack, command: list[str], files: tuple[int, ...] = ()) -> int:
    """Start what ends with its standard input, and wait for its first word; give its process id."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=files,
        start_new_session=True,
    )
    stack.callback(process.communicate)
    assert process.stdout is not None  # noqa: S101  it is a pipe
    if process.stdout.readline() != "ready\n":
        raise HermitError(f"{command[0]} could not begin: {process.communicate()[1].strip()}")
    return process.pid


def _way_out() -> tuple[str, str]:
    """Give the device of the default route and the size of its packets."""
    routes = json.loads(_ip("-4", "-json", "route", "show", "default"))
    if not routes:
        raise HermitError("a distance needs a default route", hint="--away 0 for the network as it is")
    device: str = routes[0]["dev"]
    (link,) = json.loads(_ip("-json", "link", "show", "dev", device))
    return device, str(link["mtu"])


def _ip(*words: str) -> str:
    try:
        done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    except OSError as error:
        raise HermitError(f"ip cannot be run: {error}", hint="apt install iproute2") from error
    if done.returncode:
        raise HermitError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _tun() -> tuple[int, str]:
    """Make a device that lives as long as its descriptor, in the namespace of this thread; give both."""
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        asked = struct.pack("16sH22x", b"distance%d", _TUN | _NO_PI | _VNET_HDR)
        name = fcntl.ioctl(device, _TUNSETIFF, asked)[:16].rstrip(b"\0").decode()
        fcntl.ioctl(device, _TUNSETOFFLOAD, _OFFLOADS)
    except OSError as error:
        raise HermitError(f"no device can be made: {error}", hint="modprobe tun") from error
    return device, name


@contextlib.contextmanager
def _home() -> Iterator[int]:
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _namespace() -> int:
    """Make a network namespace, which lives as long as its descriptor or a process in it."""
    with _home() as home:
        _call("unshare", _NEWNET)
        try:
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _enter(home)


def _enter(namespace: int) -> None:
    _call("setns", namespace, _NEWNET)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        error = ctypes.get_errno()
        raise HermitError(f"{name}: {os.strerror(error)}")


def _carried(way: Way, size: int) -> tuple[float, float]:
    """Send `size` bytes from outside to inside; give the seconds that it took and the carrier's processor seconds."""
    with socket.create_server((_OUTSIDE, 0)) as server:

        def send() -> None:
            peer = server.accept()[0]
            with peer:
                piece = bytes(1 << 20)
                for _ in range(size >> 20):
                    peer.sendall(piece)

        sender = threading.Thread(target=send)
        sender.start()
        begin, used = time.perf_counter(), way.processor()
        with way.entered(), socket.create_connection((_OUTSIDE, server.getsockname()[1])) as client:
            while client.recv(1 << 20):
                pass
        sender.join()
        return time.perf_counter() - begin, way.processor() - used


def main() -> int:
    """Measure a distance itself."""
    milliseconds, size = int((sys.argv[1:] or ["20"])[0]), 256 << 20
    with away(milliseconds) as way, socket.create_server((_OUTSIDE, 0)) as server:
        server.listen(128)
        connect = way.connect([server.getsockname()])
        seconds, used = _carried(way, size)
    sys.stdout.write(f"connect {connect * 1000:.2f} ms, {size / seconds / 1e6:.0f} MB/s, ")
    sys.stdout.write(f"{used / size * 1e9:.2f} s of a core for each GB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

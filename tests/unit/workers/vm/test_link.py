"""Makes real links and attacks them from a real IP stack at the guest's end of the tap."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from hermit_workers.cell import CellError
from hermit_workers.vm import link
from hermit_workers.vm.domain import MAC
from hermit_workers.vm.link import GUEST, HOST, Link, sweep

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="links are root's, and need /dev/net/tun"
)
PORTS = (3128, 9989)
OTHER_MAC = "52:54:00:00:02:99"
_TUNSETIFF, _TAP_WITHOUT_HEADER = 0x400454CA, 0x0002 | 0x1000
_Result = TypeVar("_Result")
HOLDS_ONE = """
import asyncio, sys
from pathlib import Path
from hermit_workers.vm.link import Link
async def main():
    made = await Link.open(Path(sys.argv[1]), [3128])
    if sys.argv[2] == "wired":
        await made.wire()
    print(made.tap, flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
    return done.stdout


def left(name: str) -> list[str]:
    """Name what there is of a link on this machine."""
    if not Path("/run/netns", name).exists():
        return []
    return [f"namespace {name}", *([f"tap {name}"] if name in ip("-netns", name, "-brief", "link") else [])]


class Guest:
    """Is a machine at the other end of a tap: a namespace with an interface of its own, and frames carried over."""

    def __init__(self, tap: str) -> None:
        self.name = f"hvtest{secrets.token_hex(3)}"
        ip("netns", "add", self.name)
        ip("-netns", self.name, "tuntap", "add", "dev", "eth0", "mode", "tap")
        self._ends = (link._inside(tap, lambda: _open_tap(tap)), link._inside(self.name, lambda: _open_tap("eth0")))
        self._over, self._end = os.pipe()
        self._carrying = threading.Thread(target=self._carry)

    def start(self) -> None:
        for words in (
            f"link set dev eth0 address {MAC}",
            f"address add {GUEST}/24 dev eth0",
            "link set dev eth0 up",
            f"route add default via {HOST}",
        ):
            ip("-netns", self.name, *words.split())
        self._carrying.start()

    def inside(self, function: Callable[[], _Result]) -> _Result:
        return link._inside(self.name, function)

    def _carry(self) -> None:
        one, two = self._ends
        while True:
            ready = select.select([one, two, self._over], [], [])[0]
            if self._over in ready:
                return
            for source in ready:
                with contextlib.suppress(OSError):
                    os.write(two if source == one else one, os.read(source, 65536))

    def close(self) -> None:
        os.close(self._end)
        if self._carrying.ident is not None:
            self._carrying.join()
        for descriptor in (*self._ends, self._over):
            os.close(descriptor)
        ip("netns", "delete", self.name)


def _open_tap(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_WITHOUT_HEADER))
    return descriptor


@asynccontextmanager
async def wired(folder: Path) -> AsyncIterator[tuple[Link, Guest, list[socket.socket]]]:
    """Give a link and its guest, as a cell does it: the tap is opened before it is up."""
    made = await Link.open(folder, PORTS)
    try:
        guest = await asyncio.to_thread(Guest, made.tap)
        try:
            listeners = await made.wire()
            await asyncio.to_thread(guest.start)
            yield made, guest, listeners
            for listener in listeners:
                listener.close()
        finally:
            await asyncio.to_thread(guest.close)
    finally:
        await made.close()
    assert left(made.tap) == []


def connects(address: str, port: int, *, source: str = "0.0.0.0") -> bool:  # noqa: S104  whichever it has
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.settimeout(0.5)
        if family == socket.AF_INET:
            asking.bind((source, 0))
        try:
            asking.connect((address, port))
        except OSError:
            return False
        return True


def pings(address: str) -> bool:
    """Send an echo request (RFC 792) and wait for its answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as asking:
        asking.settimeout(0.5)
        asking.connect((address, 0))
        try:
            asking.send(bytes.fromhex("0800f7fd00010001"))
            return asking.recv(100)[20] == 0
        except OSError:
            return False


def reaches_by_udp(listener: socket.socket, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"x", (HOST, port))
    return bool(select.select([listener], [], [], 0.5)[0])


def test_the_guest_reaches_two_sockets_and_the_host_answers_from_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with wired(tmp_path) as (_, guest, listeners):
            assert [listener.getsockname() for listener in listeners] == [(HOST, port) for port in PORTS]
            for listener, port in zip(listeners, PORTS, strict=True):
                accepting = asyncio.get_running_loop().sock_accept(listener)

                def talk(port: int = port) -> bytes:
                    with socket.create_connection((HOST, port), timeout=10) as asking:
                        asking.sendall(b"hello")
                        return asking.recv(5)

                asked = asyncio.create_task(asyncio.to_thread(guest.inside, talk))
                connection, peer = await accepting
                with connection:
                    assert peer[0] == GUEST
                    await asyncio.get_running_loop().sock_sendall(connection, b"world")
                    assert await asked == b"world"

    asyncio.run(scenario())


def test_what_else_there_is_in_the_namespace_is_out_of_reach_and_would_be_there_without_the_rules(
    tmp_path: Path,
) -> None:
    """Each attempt is made again with the rules gone: one that fails then as well would prove nothing."""

    def attempts(guest: Guest, udp: socket.socket, device: str) -> dict[str, bool]:
        ip("-netns", guest.name, "address", "replace", "10.0.2.77/24", "dev", "eth0")
        found = {
            "another port": guest.inside(lambda: connects(HOST, 8000)),
            "the proxy from another address": guest.inside(lambda: connects(HOST, 3128, source="10.0.2.77")),
            "UDP to the proxy's port": guest.inside(lambda: reaches_by_udp(udp, 3128)),
            "the proxy by another address of the host": guest.inside(lambda: connects("10.0.3.2", 8000)),
        }
        ip("-netns", guest.name, "link", "set", "dev", "eth0", "address", OTHER_MAC)
        answer_to(OTHER_MAC, device)
        found["the proxy from another MAC"] = guest.inside(lambda: connects(HOST, 3128))
        ip("-netns", guest.name, "link", "set", "dev", "eth0", "address", MAC)
        answer_to(MAC, device)
        return found

    def answer_to(mac: str, device: str) -> None:
        words = f"neighbour replace {GUEST} lladdr {mac} nud permanent dev {device}"
        ip("-netns", device, *words.split())

    def open_more(device: str) -> tuple[socket.socket, socket.socket]:
        ip("-netns", device, "address", "add", "10.0.3.2/24", "dev", device)

        def inside() -> tuple[socket.socket, socket.socket]:
            more = socket.create_server(("", 8000))
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((HOST, 3128))
            return more, udp

        return link._inside(device, inside)

    async def scenario() -> None:
        async with wired(tmp_path) as (made, guest, _):
            more, udp = await asyncio.to_thread(open_more, made.tap)
            with more, udp:
                behind = await asyncio.to_thread(attempts, guest, udp, made.tap)
                ip("netns", "exec", made.tap, "nft", "flush", "ruleset")
                ip("-netns", made.tap, "route", "add", "10.0.2.0/24", "dev", made.tap)
                without = await asyncio.to_thread(attempts, guest, udp, made.tap)
        assert behind == dict.fromkeys(behind, False)
        assert without == dict.fromkeys(behind, True)

    asyncio.run(scenario())


def test_even_without_rules_nothing_of_the_host_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.create_server(("", 0)) as host, socket.create_server(("::", 0), family=socket.AF_INET6) as host6:
            addresses = ip("-oneline", "-4", "address").split()
            own = {word.partition("/")[0] for at, word in enumerate(addresses) if addresses[at - 1] == "inet"}
            assert connects("127.0.0.1", host.getsockname()[1])  # it is there for others
            async with wired(tmp_path) as (made, guest, _):
                ip("netns", "exec", made.tap, "nft", "flush", "ruleset")
                for address in sorted(own - {HOST}):
                    assert not await asyncio.to_thread(
                        guest.inside, lambda there=address: connects(there, host.getsockname()[1])
                    )
                assert not await asyncio.to_thread(guest.inside, lambda: pings(HOST))
                assert not await asyncio.to_thread(guest.inside, lambda: connects("fe80::1", host6.getsockname()[1]))
                seen = ip("-netns", made.tap, "-oneline", "address")
                assert [line.split()[3] for line in seen.splitlines()] == [f"{HOST}/24"]
                assert ip("-netns", made.tap, "route").splitlines() == [
                    f"{GUEST} dev {made.tap} scope link src {HOST} "
                ]

    asyncio.run(scenario())


def test_two_links_have_the_same_addresses_and_do_not_meet(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with wired(tmp_path) as (_, guest, listeners), wired(tmp_path) as (_, _, others):
            assert await asyncio.to_thread(guest.inside, lambda: connects(HOST, 3128))
            ready = select.select([*listeners, *others], [], [], 10)[0]
            assert ready == [listeners[0]]

    asyncio.run(scenario())


def test_closing_is_safe_at_every_stage_and_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        opened = await Link.open(tmp_path, PORTS)
        assert left(opened.tap) == [f"namespace {opened.tap}", f"tap {opened.tap}"]
        await opened.close()
        await opened.close()
        assert left(opened.tap) == []
        with pytest.raises(CellError, match="closed"):
            await opened.wire()
        without_tap = await Link.open(tmp_path, PORTS)
        ip("-netns", without_tap.tap, "link", "delete", "dev", without_tap.tap)  # as QEMU's end may take it
        await without_tap.close()

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["open", "wired"])
def test_the_link_of_a_hermit_that_was_killed_is_swept_and_no_other(tmp_path: Path, stage: str) -> None:
    async def scenario() -> None:
        words = [sys.executable, "-c", HOLDS_ONE, str(tmp_path), stage]
        mine = await Link.open(tmp_path, PORTS)
        hermit = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert hermit.stdout is not None
        name = (await hermit.stdout.readline()).decode().strip()
        assert await sweep(tmp_path) == []
        hermit.send_signal(signal.SIGKILL)
        await hermit.wait()
        assert left(name) != []
        assert await sweep(tmp_path) == [name]
        assert left(name) == []
        assert left(mine.tap) != []
        await mine.close()

    asyncio.run(scenario())


def test_a_step_that_fails_leaves_nothing_and_says_which_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_RULES", "nonsense {tap}\n")
    before = ip("netns")
    with pytest.raises(CellError, match=r"(?s)nft -f -` failed: .*nonsense"):
        asyncio.run(Link.open(tmp_path, PORTS))
    assert ip("netns") == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("program", "package"), [("ip", "iproute2"), ("nft", "nftables")])
def test_a_program_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, package: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in {"ip", "nft"} - {program}:
        (programs / name).symlink_to("/bin/true")
    monkeypatch.setattr(link, "_PATH", str(programs))
    with pytest.raises(CellError, match=f"{program} is not installed") as caught:
        asyncio.run(Link.open(tmp_path / "links", PORTS))
    assert caught.value.hint == f"sudo apt-get install {package}"


def test_a_sweep_goes_on_where_a_link_has_just_gone_or_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hv1", "hv2", "hv3"):
        (tmp_path / name).touch()
    opened, removes = os.open, link._thd_remove

    def gone(path: Path, *rest: int) -> int:
        if path == tmp_path / "hv1":
            path.unlink()
        return opened(path, *rest)

    def refuse(file: Path, lock: int) -> None:
        removes(file, lock)
        if file.name == "hv2":
            file.touch()
            raise CellError("`ip netns delete hv2` failed")

    monkeypatch.setattr(os, "open", gone)
    monkeypatch.setattr(link, "_thd_remove", refuse)
    assert asyncio.run(sweep(tmp_path)) == ["hv3"]
    assert [path.name for path in tmp_path.iterdir()] == ["hv2"]


def test_sweeping_where_nothing_ever_was_is_no_error(tmp_path: Path) -> None:
    assert asyncio.run(sweep(tmp_path / "none")) == []


def test_an_ordinary_user_is_told_which_way_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CellError, match="only root") as caught:
        asyncio.run(Link.open(tmp_path, PORTS))
    assert "QEMU's own network" in str(caught.value.hint)

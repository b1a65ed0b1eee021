"""Runs attacks where every address and every DNS answer can be the attacker's: in namespaces of its own.

Started by the tests as `python -m tests.integration.hostile.island FOLDER`; prints one JSON object: what went wrong
in each scenario.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from hermit_proxy.run.events import Outcome
from tests.integration.hostile.siege import World
from tests.integration.hostile.wire import SECRET_OF_THE_HOST, Client, Hostile, answer, ask
from tests.support.hermit import UNPLUGGED

PUBLIC = "198.51.100.7"  # for documentation, so no traffic was ever meant for it; opened by the operator here
OWN_PUBLIC = "1.2.3.4"
METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254")
INWARD = {
    "10.1.2.3": "private",
    "172.16.1.1": "private",
    "192.168.1.1": "private",
    "fd12:3456::1": "private",
    "100.64.1.1": "shared",
    "169.254.1.1": "link-local",
    "192.0.2.1": "documentation",
    "198.18.0.1": "benchmarks",
    "192.0.0.8": "IETF",
    "240.0.0.1": "reserved",
    "2001:db8::1": "documentation",
}
DISGUISED = {
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b:1::7f00:1": "NAT64",
    "2002:7f00:1::": "6to4",
    "2001:0:7f00:1::80ff:fffe": "Teredo",
    "::127.0.0.1": "IPv4-compatible",
    "2606:4700::5efe:7f00:1": "ISATAP",
}
_ADDRESSES = (PUBLIC, OWN_PUBLIC, *METADATA, *INWARD, *DISGUISED)
_A, _AAAA = 1, 28


class Names:
    """Is a DNS server that gives a name another answer each time, as its owner may (A and AAAA count as one round)."""

    def __init__(self) -> None:
        """Bind port 53 of loopback."""
        self.zone: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 53))
        self._sock.settimeout(0.1)
        self._over = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        """Stop."""
        self._over = True
        self._thread.join()
        self._sock.close()

    def rounds(self, name: str) -> int:
        """Count how often a name was asked for."""
        return self.asked.count(name)

    def _serve(self) -> None:
        while not self._over:
            try:
                packet, peer = self._sock.recvfrom(4096)
            except TimeoutError:
                continue
            self._sock.sendto(self._answer(packet), peer)

    def _answer(self, packet: bytes) -> bytes:
        labels, position = [], 12
        while size := packet[position]:
            labels.append(packet[position + 1 : position + 1 + size].decode())
            position += 1 + size
        kind = struct.unpack_from("!H", packet, position + 1)[0]
        question = packet[12 : position + 5]
        name = ".".join(labels).lower()
        if kind == _A:
            self.asked.append(name)
        rounds = self.zone.get(name, [])
        current = rounds[min(max(self.rounds(name), 1), len(rounds)) - 1] if rounds else []
        wanted = 4 if kind == _A else 6
        found = [a for a in map(ipaddress.ip_address, current) if a.version == wanted and kind in {_A, _AAAA}]
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(a.packed)) + a.packed for a in found)
        return (
            packet[:2] + struct.pack("!HHHHH", 0x8180 if rounds else 0x8183, 1, len(found), 0, 0) + question + records
        )


class Island:
    """Holds what all scenarios share: names, a victim on every address of the island, a world with an honest origin."""

    def __init__(self, folder: Path) -> None:
        """Take an empty folder."""
        self._stack = ExitStack()
        self._folder = folder
        self._worlds = 0

    def __enter__(self) -> Self:
        """Start the servers."""
        self.names = self._stack.enter_context(Names())
        self.names.zone["good.example.org"] = [["127.0.0.1"]]
        self.victim = self._stack.enter_context(Hostile(address="0.0.0.0"))  # noqa: S104  to be found at every address
        self.victim6 = self._stack.enter_context(Hostile(address="::", port=self.victim.port))
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop them."""
        self._stack.close()

    def world(self) -> World:
        """Give a project of its own, whose proxy resolves names by the server above."""
        self._worlds += 1
        return World(self._folder / f"world-{self._worlds}")

    def url(self, host: str, path: str = "/", port: int | None = None) -> str:
        """Give the URL of the victim at an address."""
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port or self.victim.port}{path}"

    @property
    def reached(self) -> int:
        """Count who got through to the victim."""
        return self.victim.connections + self.victim6.connections


def _refused(island: Island, expected: dict[str, str], allow: tuple[str, ...] = ()) -> None:
    """Ask for the victim at each address, and see that the proxy names the range and dials nothing."""
    with island.world() as world, world.start(program=Path(sys.executable), allow=allow) as proxy:
        for address, kind in expected.items():
            before = island.reached
            reply = proxy.get(island.url(address))
            assert reply.refused, (address, reply)
            assert SECRET_OF_THE_HOST not in reply.body
            proxy.verdict(Outcome.REFUSED, kind)
            assert island.reached == before, address


def _direct(island: Island, addresses: tuple[str, ...]) -> None:
    """Show that nothing but the proxy's guard is in the way: whoever just dials gets through."""
    for address in addresses:
        with Client(island.victim.port, host=address) as client:
            assert client.send(ask(island.url(address))).reply().body == SECRET_OF_THE_HOST, address


def private_ranges(island: Island) -> None:
    """Ask for addresses of networks that only the host is in."""
    _direct(island, tuple(address for address in INWARD if not address.startswith("240.")))
    _refused(island, INWARD)


def disguised(island: Island) -> None:
    """Ask for IPv6 forms that carry the loopback address."""
    _direct(island, tuple(address for address in DISGUISED if not address.startswith("::")))
    _refused(island, DISGUISED)


def metadata(island: Island) -> None:
    """Ask for the addresses at which clouds hand out their machines' credentials."""
    _direct(island, METADATA)
    _refused(island, dict.fromkeys(METADATA, "metadata"))
    opened = METADATA[0]
    with island.world() as world, world.start(program=Path(sys.executable), allow=[f"{opened}/32"]) as proxy:
        assert proxy.get(island.url(opened)).body == SECRET_OF_THE_HOST  # the guard was the barrier
        proxy.verdict(Outcome.RECORDED)


def metadata_by_name(island: Island) -> None:
    """Point a name that the operator has opened for a private mirror at the metadata service."""
    island.names.zone["mirror.example.net"] = [["10.1.2.3"], ["169.254.169.254"]]
    with island.world() as world, world.start(program=Path(sys.executable), allow=["mirror.example.net"]) as proxy:
        assert proxy.get(island.url("mirror.example.net")).body == SECRET_OF_THE_HOST
        proxy.verdict(Outcome.RECORDED)
        before = island.reached
        assert proxy.get(island.url("mirror.example.net", "/latest/meta-data")).refused
        proxy.verdict(Outcome.REFUSED, "metadata")
        assert island.reached == before


def own_public_address(island: Island) -> None:
    """Ask for the host by a public address of its own, behind its firewall."""
    _direct(island, (OWN_PUBLIC,))
    _refused(island, {OWN_PUBLIC: "this machine itself"})


def rebinding(island: Island) -> None:
    """Answer the check with an allowed address, and the connection with loopback."""
    with Hostile(lambda peer: peer.send(answer(b"public")), address=PUBLIC) as public:
        port = public.port
        with Hostile(address="127.0.0.1", port=port) as inner:
            for name in ("naive.example.net", "rebind.example.net"):
                island.names.zone[name] = [[PUBLIC], ["127.0.0.1"]]
            # What a guard does that checks a name and then connects to the name:
            assert socket.getaddrinfo("naive.example.net", port, socket.AF_INET)[0][4][0] == PUBLIC
            with Client(port, host="naive.example.net") as client:
                assert client.send(ask("http://naive.example.net/")).reply().body == SECRET_OF_THE_HOST
            assert inner.connections == 1
            with island.world() as world, world.start(program=Path(sys.executable), allow=[f"{PUBLIC}/32"]) as proxy:
                reply = proxy.get(island.url("rebind.example.net", "/1", port))
                assert reply.body == b"public", reply
                proxy.verdict(Outcome.RECORDED)
                assert island.names.rounds("rebind.example.net") == 1
                assert (public.connections, inner.connections) == (1, 1)


def rebinding_later(island: Island) -> None:
    """Wait for the second request before the name leads inward."""
    island.names.zone["later.example.net"] = [[PUBLIC], ["127.0.0.1"]]
    with island.world() as world, world.start(program=Path(sys.executable), allow=[f"{PUBLIC}/32"]) as proxy:
        reply = proxy.get(island.url("later.example.net", "/1"))
        assert reply.status == 200, reply
        proxy.verdict(Outcome.RECORDED)
        before = island.reached
        assert proxy.get(island.url("later.example.net", "/2")).refused
        proxy.verdict(Outcome.REFUSED, "loopback")
        assert island.reached == before


def mixed_addresses(island: Island) -> None:
    """Mix an allowed address with loopback, so that the client's retry goes inward."""
    for addresses in ([PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "::1"]):
        island.names.zone["mixed.example.net"] = [addresses]
        with island.world() as world, world.start(program=Path(sys.executable), allow=[f"{PUBLIC}/32"]) as proxy:
            before = island.reached
            assert proxy.get(island.url("mixed.example.net")).refused, addresses
            proxy.verdict(Outcome.REFUSED, "loopback")
            assert island.reached == before


def reserved_host_in_dns(island: Island) -> None:
    """Have upstream's DNS answer for the reserved host, with rules that admit it."""
    island.names.zone["hermit.internal"] = [[PUBLIC]]
    rules = "rules:\n- {pattern: '.*/.*', action: ALLOW}\n- {pattern: '.*:[0-9]+/.*', action: ALLOW}\n"
    with (
        island.world() as world,
        Hostile(address=PUBLIC, port=80) as impostor,
        world.start(program=Path(sys.executable), allow=[f"{PUBLIC}/32", "hermit.internal"], rules=rules) as proxy,
    ):
        assert socket.getaddrinfo("hermit.internal", 80, socket.AF_INET)[0][4][0] == PUBLIC
        asked = island.names.rounds("hermit.internal")
        for url in ("http://hermit.internal/health", "http://HERMIT.internal./health"):
            reply = proxy.get(url)
            assert reply.status == 200, reply
            assert reply.body != SECRET_OF_THE_HOST
            proxy.verdict(Outcome.PASSED)
        for url in (island.url("hermit.internal"), "https://hermit.internal/health"):
            assert proxy.get(url).refused
            proxy.verdict(Outcome.REFUSED, "plain http")
        assert island.names.rounds("hermit.internal") == asked
        assert impostor.connections == 0


SCENARIOS: tuple[Callable[[Island], None], ...] = (
    private_ranges,
    disguised,
    metadata,
    metadata_by_name,
    own_public_address,
    rebinding,
    rebinding_later,
    mixed_addresses,
    reserved_host_in_dns,
)
_SETUP = """ip link set lo up
for address in {addresses}; do ip address add "$address" dev lo {quiet}; done
mount --bind {folder}/resolv.conf "$(readlink -f /etc/resolv.conf)"
mount --bind {folder}/nsswitch.conf "$(readlink -f /etc/nsswitch.conf)"
mount --bind {folder}/hosts "$(readlink -f /etc/hosts)"
exec {python} -m tests.integration.hostile.island {folder}
"""


def run(folder: Path, root: Path) -> dict[str, str]:
    """Make the namespaces, run all scenarios in them, and give what went wrong in each, empty where nothing did."""
    if shutil.which("ip") is None:
        raise FileNotFoundError("ip (iproute2) makes the island's addresses")
    folder.mkdir()
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    setup = _SETUP.format(addresses=" ".join(_ADDRESSES), folder=folder, python=sys.executable, quiet="|| true")
    done = subprocess.run(
        [*UNPLUGGED, "sh", "-ec", setup],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(folder: Path) -> None:
    """Run the scenarios, each whatever became of the others."""
    found = {}
    for scenario in SCENARIOS:
        try:
            with Island(folder / scenario.__name__) as island:
                scenario(island)
            found[scenario.__name__] = ""
        except Exception:  # noqa: BLE001  it is told by the test
            found[scenario.__name__] = traceback.format_exc()
    print(json.dumps(found))  # noqa: T201  the report


if __name__ == "__main__":
    main(Path(sys.argv[1]))

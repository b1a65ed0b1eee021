"""Attacks from within a guest of somebody who is not root; started as a program, it is their part."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hermit_workers.vm.boot import Bootable
from tests.integration.vm.escapes import attempts
from tests.integration.vm.escapes.besieged import machines
from tests.integration.vm.escapes.siege import LONG, PATH, SHORT, Found, Guest, bootable, name_servers, own_addresses
from tests.integration.vm.escapes.victims import Victim, free_port
from tests.support.otheruser import becoming

ROOT = Path(__file__).resolve().parents[4]
USER = 23458
_SIX = ("fec0::2", "fec0::3")  # QEMU's own, which it takes for the host's loopback
_SETS_UP = "/bin/busybox ip -6 address add fec0::15/64 dev eth0; /bin/busybox ip -6 route add default via fec0::2"
_SETS_UP += "; /bin/busybox ip route add default via 10.0.2.2"
_OPEN = """
echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
for address; do case $address in
    *:*) ip address add "$address/128" dev lo nodad ;;
    *) ip address add "$address/32" dev lo ;;
esac; done
"""


def tried(hosts: list[str], servers: list[str], port: int) -> attempts.Attempts:
    """Give what is tried: what QEMU's own network passes on to the system, in the place of frames."""
    four = [host for host in hosts if ":" not in host]
    return {
        "vm-user-host-addresses": [(kind, host, port) for kind in ("tcp", "udp") for host in hosts],
        "vm-user-loopback": [(kind, host, port) for kind in ("tcp", "udp") for host in (attempts.HOST, _SIX[0])],
        "vm-user-link-local": [("tcp", host, port) for host in attempts.LINK_LOCAL],
        "vm-user-metadata": [("tcp", host, 80) for host in attempts.METADATA],
        "vm-user-public": [(kind, host, port) for kind in ("tcp", "udp") for host in attempts.PUBLIC],
        "vm-user-dns": [("dns", host) for host in (attempts.SERVERS[0], *servers)]
        + [("dnstcp", host) for host in servers],
        "vm-user-icmp": [("icmp", host, 8, 0) for host in four],
        "vm-user-agent-port": [("tcp", attempts.HOST, 9989)],
    }


def besiege_as_user(image: Path, folder: Path) -> Found:
    """Attack from the guest of somebody who is not root, before and after its namespace was opened."""
    found = Found()
    port = free_port()
    facts: dict[str, Any] = {"hosts": own_addresses(), "servers": name_servers(), "port": port}
    theirs = folder / "o"
    theirs.mkdir(mode=0o700)
    boots = bootable(image, folder / "boot")
    shutil.copytree(boots.folder, theirs / "boot")
    os.chown(theirs, USER, USER)
    lines = {"passwd": f"other:x:{USER}:{USER}::/:/bin/sh\n", "group": f"other:x:{USER}:\n"}
    words = [
        *becoming(USER, folder / "etc", lines),
        sys.executable,
        "-m",
        __spec__.name,
        str(theirs),
        json.dumps(facts),
    ]
    with Victim(None, [port], [port]), _running(words) as running:
        found.closed = _line(running)
        (machine,) = machines(theirs)
        namespace = Path(f"/proc/{machine}/ns/net")
        addresses = {*facts["hosts"], *facts["servers"], *attempts.METADATA, *attempts.LINK_LOCAL, *attempts.PUBLIC}
        opening = ["nsenter", f"--net={namespace}", "sh", "-euc", _OPEN, "sh", *sorted(addresses)]
        subprocess.run(opening, check=True, env={"PATH": PATH})
        with Victim(namespace, [port, 80, 53, 9989], [port, 53]):
            assert running.stdin is not None
            running.stdin.write("go\n")
            running.stdin.flush()
            found.opened = _line(running)
    return found


@contextmanager
def _running(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    environment = {"PATH": PATH, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    running = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    with running:
        try:
            yield running
            assert running.wait(LONG) == 0
        finally:
            running.terminate()


def _line(running: subprocess.Popen[str]) -> dict[str, str]:
    assert running.stdout is not None
    found: dict[str, str] = json.loads(running.stdout.readline())
    return found


async def _attack(folder: Path, facts: dict[str, Any]) -> None:
    guest = Guest("user", Bootable(folder / "boot"), folder, folder / "cache")
    given = attempts.lines(tried(facts["hosts"], facts["servers"], facts["port"]))
    try:
        await guest.start([])
        await guest.sh(_SETS_UP)
        found = await guest.attack(given, SHORT)
        own = attempts.lines({"own": [("dhcp",), ("icmp", attempts.HOST, 8, 0), *[("udp", attempts.HOST, 69)]]})
        own += attempts.lines({"own": [("tcp", "10.0.2.4", one) for one in (139, 445)]})
        found |= await guest.attack(own, SHORT)
        found["sweep"] = await guest.attempt("sweep", attempts.HOST, 1, 12000, "yes")
        found["wire"] = await guest.attempt("tcp", attempts.HOST, 3128)
        _tell(found)
        await asyncio.to_thread(sys.stdin.readline)
        found = await guest.attack(given, LONG)
        found["sweep"] = await guest.attempt("sweep", attempts.HOST, 9000, 12000, "yes")
        _tell(found)
    finally:
        await guest.end()


def _tell(found: dict[str, str]) -> None:
    print(json.dumps(found), flush=True)  # noqa: T201  to who is root


if __name__ == "__main__":
    asyncio.run(_attack(Path(sys.argv[1]), json.loads(sys.argv[2])))

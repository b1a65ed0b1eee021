"""A way is as long as was asked, and nothing of it is left however the process ends that made it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import distance
import pytest

from hermit_proxy.errors import HermitError

# In a network namespace of the test's own, so that nothing of the machine is touched: one way out, to nowhere.
WAY_OUT = (
    "ip tuntap add mode tun out0; ip addr add 192.0.2.2/24 dev out0; ip link set lo up; ip link set out0 up mtu 1300; "
)
WAY_OUT += "ip route add default via 192.0.2.1 dev out0 onlink; exec "
CONNECT = """
import distance, socket, subprocess
with distance.away(30) as way, socket.create_server((distance._OUTSIDE, 0)) as server:
    server.listen(64)
    taken = way.connect([server.getsockname()])
    with way.entered():
        links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True).stdout
    print(taken, distance.Way().connect([server.getsockname()]), way.processor(), "out0" in links, "mtu 1300" in
        distance._ip("link"), distance._carried(way, 3 << 20)[0] > 0.03)
"""
# Ends in the way that it is told, in the middle of it.
END = """
import distance, os, signal, sys, time
with distance.away(20):
    print("in", flush=True)
    sys.stdin.readline()
    if sys.argv[1] == "error":
        raise RuntimeError("told to")
    if sys.argv[1]:
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(60)
"""
# Looks at the machine before, during and after, until it is as it was.
WATCH = f"""
import subprocess, sys, time
from pathlib import Path
def state():
    told = [subprocess.run(command, capture_output=True, text=True).stdout for command in
        (["nft", "list", "ruleset"], ["ip", "-o", "link"], ["ip", "-4", "route"])]
    return [Path("/proc/sys/net/ipv4/conf/out0/forwarding").read_text(), *told]
before = state()
child = subprocess.Popen([sys.executable, "-c", {END!r}, sys.argv[1]], stdout=subprocess.PIPE, stdin=subprocess.PIPE,
    stderr=subprocess.DEVNULL)
assert child.stdout.readline() == b"in\\n"
during = state()
assert all(one != other for one, other in zip(before[:3], during[:3])), during
child.communicate()
for _ in range(600):
    if (after := state()) == before:
        print("as it was", child.returncode)
        break
    time.sleep(0.05)
else:
    print(before, after)
"""


def in_a_namespace(script: str, *words: str) -> str:
    """Run a script as root in a network namespace with a way out; give what it said."""
    missing = [tool for tool in ("ip", "nft", "unshare") if shutil.which(tool) is None]
    if os.geteuid() or missing or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip(f"needs root, /dev/net/tun and {', '.join(missing) or 'nothing else'}")
    command = ["unshare", "--net", "sh", "-ec", WAY_OUT + '"$@"', "sh", sys.executable, "-c", script, *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_connection_takes_the_whole_round_trip_longer_and_only_inside() -> None:
    inside, outside, processor, seen, as_large, both = in_a_namespace(CONNECT).split()
    assert float(inside) >= 0.03
    assert float(outside) < float(inside)
    assert float(processor) > 0
    assert (seen, as_large, both) == ("False", "True", "True")


@pytest.mark.parametrize(
    ("ending", "status"), [("", 0), ("error", 1), (str(int(signal.SIGTERM)), -15), (str(int(signal.SIGKILL)), -9)]
)
def test_nothing_is_left_however_it_ends(ending: str, status: int) -> None:
    assert in_a_namespace(WATCH, ending) == f"as it was {status}\n"


def test_who_is_not_root_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HermitError, match="root") as raised, distance.away(20):
        pass
    assert "--away 0" in (raised.value.hint or "")


def test_no_distance_needs_nothing_and_is_the_network_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    here = Path("/proc/thread-self/ns/net").readlink()
    with distance.away(0) as way, way.entered(), socket.create_server(("127.0.0.1", 0)) as server:
        assert Path("/proc/thread-self/ns/net").readlink() == here
        assert way.connect([server.getsockname()]) > 0
        assert way.processor() == 0


def test_a_network_that_reaches_nothing_is_an_error_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = server.getsockname()
    with pytest.raises(HermitError, match=f"127.0.0.1:{gone[1]}.*refused"):
        distance.Way().connect([gone])

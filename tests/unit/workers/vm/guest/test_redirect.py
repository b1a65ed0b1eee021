"""Has this machine's kernel redirect connections by the guest's real programs, in a control group of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.workers.vm.guests import GUEST

pytestmark = pytest.mark.skipif(shutil.which("perl") is None, reason="what redirects is loaded by Perl")
V4, V6 = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")

ANSWERS = """
import socket, sys
listening = socket.socket(fileno=int(sys.argv[1]))
while True:
    with listening.accept()[0] as connection:
        connection.sendall(b"far")
"""

# Joins a group, then connects from the address (or from any, where it is none), and tells the other end's name.
CONNECTS = """
import socket, sys
group, family, address, port, source = sys.argv[1:]
open(group + "/cgroup.procs", "w").write("0")
with socket.socket(int(family), socket.SOCK_STREAM) as connection:
    if source:
        connection.bind((source, 0))
    connection.connect((address, int(port)))
    print(*connection.getpeername()[:2], connection.recv(10).decode())
"""

# Comes before it where the same process is to answer itself.
NEAR = """
import socket, sys, threading
listening = socket.create_server(("127.0.0.1", int(sys.argv[4])))
threading.Thread(target=lambda: listening.accept()[0].sendall(b"near"), daemon=True).start()
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """Give a new control group of version 2, which takes its programs with it."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    tops = [Path(words[1]) for words in mounts if words[2] == "cgroup2"]
    if os.geteuid() != 0 or not tops:
        pytest.skip("only root of a machine with control groups of version 2 may attach programs to one")
    made = tops[0] / f"hermit-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error.strerror}")
    yield made
    made.rmdir()


@pytest.fixture
def redirected(group: Path, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """Give a group whose connections to 127.0.0.1 go to 127.0.0.2 instead, and the port where they are answered."""
    with socket.create_server(("127.0.0.2", 0)) as far, socket.socket() as near:
        port = far.getsockname()[1]
        near.bind(("127.0.0.1", port))  # nobody else's, and who connects is refused
        done = load(group, port, tmp_path)
        if "not permitted" in done.stderr or "not implemented" in done.stderr:
            pytest.skip(f"this machine attaches no programs: {done.stderr}")
        assert (done.returncode, done.stderr) == (0, "")
        server = subprocess.Popen([sys.executable, "-c", ANSWERS, str(far.fileno())], pass_fds=[far.fileno()])
        yield group, port
        server.kill()
        server.wait()


def load(group: Path, port: int, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Load and attach: what does it removes itself, so it gets a copy."""
    script = tmp_path / "redirect.pl"
    shutil.copy(GUEST / "redirect.pl", script)
    folder = os.open(group, os.O_RDONLY)
    try:
        words = ["perl", "-Mstrict", "-Mwarnings", str(script), "127.0.0.1", "127.0.0.2", str(port), str(folder)]
        return subprocess.run(words, pass_fds=[folder], capture_output=True, text=True, check=False)
    finally:
        os.close(folder)
        assert not script.exists()


def connect(group: Path, to: tuple[int, str], port: int, *, source: str = "") -> str:
    """Give what a process of the group is told by whom it reaches, or the last line that it says."""
    words = [sys.executable, "-c", CONNECTS, str(group), str(int(to[0])), to[1], str(port), source]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout or done.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize("to", [V4, V6], ids=["v4", "mapped"])
def test_a_connection_goes_to_the_other_address_and_is_told_its_own(
    redirected: tuple[Path, int], to: tuple[int, str]
) -> None:
    group, port = redirected
    assert connect(group, to, port) == f"{to[1]} {port} far"


@pytest.mark.parametrize("to", [V4, V6], ids=["v4", "mapped"])
def test_what_is_bound_to_an_address_stays_where_it_goes(redirected: tuple[Path, int], to: tuple[int, str]) -> None:
    group, port = redirected
    assert "Connection refused" in connect(group, to, port, source=to[1])


def test_other_ports_addresses_and_groups_stay_where_they_go(redirected: tuple[Path, int]) -> None:
    group, port = redirected
    with socket.create_server(("127.0.0.2", 0)) as other:
        assert "Connection refused" in connect(group, V4, other.getsockname()[1])
    assert "Connection refused" in connect(group, (socket.AF_INET, "127.0.0.3"), port)
    assert "Connection refused" in connect(group, (socket.AF_INET6, "::ffff:127.0.0.3"), port)
    assert "Connection refused" in connect(group.parent, V4, port)


def test_another_network_namespace_has_a_loopback_of_its_own(redirected: tuple[Path, int]) -> None:
    group, port = redirected
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("a network namespace is made by unshare, its loopback by ip")
    words = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c"]
    words += [NEAR + CONNECTS, str(group), str(int(V4[0])), V4[1], str(port), ""]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == f"127.0.0.1 {port} near\n", done.stderr


def test_where_nothing_can_be_attached_it_says_so_and_no_more(tmp_path: Path) -> None:
    done = load(tmp_path, 3128, tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("redirect: not all that goes to 127.0.0.1 is redirected: ")

"""Looks around in real cells: what of the host is left, and what is gone."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError
from tests.support.cells import run_in_cell

CONNECT = """
import socket, sys
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        socket.socket(socket.AF_UNIX, kind).connect(sys.argv[1])
        print("connected")
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.fixture
def rundir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("s") / "docker.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        yield path


def test_the_users_files_are_there_and_may_be_written(rundir: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    done = run_in_cell("sh", "-c", "cat mine; pwd; echo new > made", rundir=rundir)
    assert done.stdout == f"text{tmp_path}\n"
    assert (tmp_path / "made").read_text() == "new\n"


def test_a_socket_of_a_service_of_the_host_is_dead(rundir: Path, service: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(service))  # it is alive
    done = run_in_cell(sys.executable, "-c", CONNECT, str(service), rundir=rundir)
    assert done.stdout == "ConnectionRefusedError\n" * 2


def test_an_abstract_socket_of_the_host_is_not_there(rundir: Path) -> None:
    name = f"hermit-test-{os.getpid()}"
    probe = CONNECT.replace("sys.argv[1]", r"'\0' + sys.argv[1]")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"\0{name}")
        bound.listen()
        assert run_in_cell(sys.executable, "-c", probe, name, rundir=rundir).stdout == "ConnectionRefusedError\n" * 2


def test_a_tcp_server_on_the_hosts_loopback_is_not_there(rundir: Path) -> None:
    probe = "import socket, sys\n"
    probe += "try: socket.create_connection(('127.0.0.1', int(sys.argv[1])))\nexcept OSError as e: print(e.errno)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()  # it is alive
        assert run_in_cell(sys.executable, "-c", probe, str(port), rundir=rundir).stdout == "111\n"


def test_hidden_folders_look_empty_and_take_nothing(rundir: Path, tmp_path: Path) -> None:
    store = tmp_path / "home" / "store"
    store.mkdir(parents=True)
    (store / "body").write_text("x")
    script = f"ls -A {store} {rundir} | grep -v :; touch {store}/new && echo written; rmdir {store} && echo removed"
    assert run_in_cell("sh", "-c", script, rundir=rundir, hidden=(store,)).stdout.split() == []
    assert (store / "body").read_text() == "x"


def test_a_hidden_folder_that_is_missing_is_made_so_that_the_command_cannot_make_it(
    rundir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config" / "hermit"
    script = f"mkdir -p {config}; echo 'upstream: {{allow: [0.0.0.0/0]}}' > {config}/config.yaml && echo written"
    assert run_in_cell("sh", "-c", script, rundir=rundir, hidden=(config,)).stdout == ""
    assert not list(config.iterdir())


def test_a_file_with_a_secret_looks_empty(rundir: Path, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret")
    (tmp_path / "link").symlink_to(secret)
    done = run_in_cell("sh", "-c", "cat token link; echo x > token && echo written", rundir=rundir, secrets=(secret,))
    assert done.stdout == ""
    assert secret.read_text() == "s3cret"


def test_root_in_the_cell_cannot_write_to_the_hosts_kernel(rundir: Path) -> None:
    script = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /sys/kernel/mm/ksm/run; do "
    script += "(: >> $f) && echo $f; done"
    assert run_in_cell("sh", "-c", script, rundir=rundir).stdout == ""


def test_processes_of_the_host_are_not_to_be_seen(rundir: Path) -> None:
    assert str(os.getpid()) not in run_in_cell("ls", "/proc", rundir=rundir).stdout.split()


def test_there_is_no_power_and_no_way_to_more(rundir: Path) -> None:
    script = "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | cut -f2; unshare --user true && echo nested"
    assert run_in_cell("sh", "-c", script, rundir=rundir).stdout.split() == ["0" * 16, "0" * 16, "1"]


def test_the_services_folders_are_empty_and_hermits_files_are_there(rundir: Path, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "bus").touch()
    script = "ls /run /dev/shm $XDG_RUNTIME_DIR | grep -v :; ls /run/hermit/ca.pem; touch $XDG_RUNTIME_DIR/mine"
    done = run_in_cell("sh", "-c", script, rundir=rundir, user={"XDG_RUNTIME_DIR": str(runtime)})
    assert done.status == 0
    assert done.stdout.split() == ["hermit", "lock", "/run/hermit/ca.pem"]
    assert sorted(path.name for path in runtime.iterdir()) == ["bus"]


def test_a_step_that_updates_the_certificates_keeps_the_ca_and_touches_nothing_of_the_host(
    rundir: Path,
) -> None:
    before = sorted(path.name for path in Path("/etc/ssl/certs").iterdir())
    # Row 31: what an upgrade of ca-certificates does, without its triggers for Java.
    script = "update-ca-certificates --fresh --hooksdir /nowhere >&2; grep -c hermit /etc/ssl/certs/hermit.pem; "
    script += "openssl verify /run/hermit/ca.pem; openssl verify -CApath /etc/ssl/certs -no-CAfile /run/hermit/ca.pem"
    done = run_in_cell("sh", "-c", script, rundir=rundir)
    assert done.stdout.splitlines()[1:] == ["/run/hermit/ca.pem: OK"] * 2
    assert sorted(path.name for path in Path("/etc/ssl/certs").iterdir()) == before


def test_hermits_own_folder_is_no_place_to_work(rundir: Path, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(HermitError, match="own folders"):
        run_in_cell("true", rundir=rundir, folder=tmp_path / "state", hidden=(tmp_path / "state",))

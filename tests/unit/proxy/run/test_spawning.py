"""Spawns proxies that nobody tells anything, or not for long."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode
from hermit_proxy.run.spawning import spawn, spawned

MODES = ("record", "hermetic")


def waiting(pid: int) -> bool:
    """Tell whether a process waits in recvfrom(2) for its first order."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in {"45", "207"}  # x86_64, aarch64


def until_waiting(popen: subprocess.Popen[bytes]) -> None:
    while not waiting(popen.pid):
        assert popen.poll() is None


@pytest.mark.parametrize("mode", MODES)
def test_a_proxy_that_was_told_nothing_has_read_nothing_of_the_run(mode: str, tmp_path: Path) -> None:
    with spawned(mode, tmp_path, os.environ) as proxy:
        until_waiting(proxy.popen)
        assert not select.select([proxy.sock], [], [], 0)[0]
        threads = os.listdir(f"/proc/{proxy.popen.pid}/task")
    assert (len(threads), proxy.popen.returncode) == (1, -9)
    assert [path.name for path in tmp_path.iterdir()] == ["proxy.err"]
    assert not (tmp_path / "proxy.err").read_text()


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_proxy_whose_supervisor_has_gone_goes_too(mode: str, imported: bool, tmp_path: Path) -> None:
    proxy = spawn(mode, tmp_path, os.environ)
    if imported:
        until_waiting(proxy.popen)
    proxy.sock.close()
    assert proxy.popen.wait(30) == ExitCode.MACHINE
    assert not (tmp_path / "proxy.err").read_text()


def test_a_proxy_ends_with_who_spawned_it_however_that_ends(tmp_path: Path) -> None:
    """The supervisor is killed: nobody is left to end anything."""
    script = "import os, sys; from pathlib import Path; from hermit_proxy.run.spawning import spawn\n"
    script += "proxy = spawn('hermetic', Path(sys.argv[1]), os.environ); print(proxy.popen.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        left = os.pidfd_open(int(supervisor.stdout.readline()))
        supervisor.kill()
    assert select.select([left], [], [], 30)[0]
    os.close(left)


def test_it_is_the_module_from_the_first_packet_on(tmp_path: Path) -> None:
    """The run's folder has no settings: the replayer itself says so."""
    with spawned("hermetic", tmp_path, os.environ) as proxy:
        proxy.sock.send(b"x")
        assert b"ca" in proxy.sock.recv(1 << 16)
        assert proxy.popen.wait(30) == ExitCode.MACHINE


def test_ending_twice_is_safe(tmp_path: Path) -> None:
    with spawned("hermetic", tmp_path, os.environ) as proxy:
        proxy.end()
    proxy.end()


def test_little_of_the_environment_reaches_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for a proxy prints its environment; only names of the list are in it."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nenv\n")
    script.chmod(0o755)
    monkeypatch.setattr("hermit_proxy.run.spawning.sys.executable", str(script))
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "AWS_SECRET_ACCESS_KEY": "x", "LD_PRELOAD": "y"}
    spawn("hermetic", tmp_path, environ).popen.wait(30)
    printed = dict(line.split("=", 1) for line in (tmp_path / "proxy.err").read_text().splitlines())
    assert {name for name in printed if name not in {"PWD", "OLDPWD", "SHLVL", "_"}} == {"PATH", "HOME"}

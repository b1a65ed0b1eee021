"""Starts what answers the load of the replay benchmark, Hermit's replayer and mitmproxy, and tells what each costs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import measure
import origin

from hermit_proxy.policy import Mode
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.settings import ProxySettings

MITMDUMP = Path(sys.executable).with_name("mitmdump")


@dataclass(frozen=True)
class Contender:
    """Is something that answers: where its proxy is (None for nginx itself), what to trust, whose costs to read.

    `begun` is when it was spawned (time.perf_counter), `started` the seconds from then until it could answer.
    """

    name: str
    proxy: str | None
    trust: Path
    process: int
    started: float = 0.0
    begun: float = 0.0


@contextlib.asynccontextmanager
async def hermit(settings: ProxySettings) -> AsyncIterator[Contender]:
    """Run a replayer on a loopback port; `started` counts the seconds until it can answer."""
    with tempfile.TemporaryDirectory(prefix="hermit-bench-run-") as name, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        begin = time.perf_counter()
        rundir = Path(name) / "run"
        proxy = await ProxyProcess.start(Mode.HERMETIC, settings, rundir)
        try:
            await proxy.ready()
            proxy.listen(listener)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield Contender("hermit", url, rundir / "ca.pem", proxy.pid, time.perf_counter() - begin, begin)
            await proxy.finish()
        finally:
            await proxy.stop()


@contextlib.contextmanager
def mitmproxy(folder: Path, flows: Path, *, record: bool = False, trust: Path | None = None) -> Iterator[Contender]:
    """Run mitmdump: recording into `flows`, or replaying them as servers and refusing everything else."""
    port = origin.free_port()
    command = [str(MITMDUMP), "-q", "--listen-host", "127.0.0.1", "-p", str(port), "--set", f"confdir={folder}"]
    if record:
        command += ["-w", str(flows), "--set", f"ssl_verify_upstream_trusted_ca={trust}"]
    else:
        command += ["--server-replay", str(flows), "--set", "server_replay_reuse=true"]
        command += ["--set", "server_replay_extra=kill", "--set", "connection_strategy=lazy"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        origin.wait(port)
        proxy, trust = f"http://127.0.0.1:{port}", folder / "mitmproxy-ca-cert.pem"
        yield Contender("mitmproxy", proxy, trust, process.pid, time.perf_counter() - begin, begin)
    finally:
        process.terminate()
        process.wait()


def busy(process: int) -> float:
    """Give the processor seconds that a process and those that it started have used so far."""
    ticks = 0
    for one in measure.descendants(process):
        with contextlib.suppress(OSError):  # It may have gone.
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def waited(process: int) -> float:
    """Give the seconds in which a process and those that it started were ready to run and others had their cores.

    Of each the first thread alone counts, which is the one that answers.
    """
    nanoseconds = 0
    for one in measure.descendants(process):
        with contextlib.suppress(OSError):  # It may have gone.
            nanoseconds += int(Path(f"/proc/{one}/schedstat").read_text().split()[1])
    return nanoseconds / 1e9


def resident(process: int) -> float:
    """Give the most memory that a process and those that it started have had so far (VmHWM), in MB (10^6 bytes)."""
    return sum(_kilobytes(one, "status", "VmHWM") for one in measure.descendants(process)) * 1024 / 1e6


def proportional(process: int) -> float:
    """Give the memory of a process and those that it started now, what is shared counted in parts (PSS), in MB."""
    return sum(_kilobytes(one, "smaps_rollup", "Pss") for one in measure.descendants(process)) * 1024 / 1e6


def _kilobytes(process: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    except OSError:  # It has gone.
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)

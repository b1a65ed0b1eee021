"""Starts what answers the load of the replay benchmark: Hermit's replayer, mitmproxy's server replay, nginx itself."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import origin

from hermit_proxy.policy import Mode
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.settings import ProxySettings

MITMDUMP = Path(sys.executable).with_name("mitmdump")


@dataclass(frozen=True)
class Contender:
    """Is something that answers: where its proxy is (None for nginx itself), what to trust, whose memory to read."""

    name: str
    proxy: str | None
    trust: Path
    process: int
    started: float = 0.0


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
            yield Contender("hermit", url, rundir / "ca.pem", proxy.pid, time.perf_counter() - begin)
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
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        origin.wait(port)
        yield Contender("mitmproxy", f"http://127.0.0.1:{port}", folder / "mitmproxy-ca-cert.pem", process.pid)
    finally:
        process.terminate()
        process.wait()


def resident(process: int) -> float:
    """Give the highest memory of a process so far, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

"""Puts load on a proxy with curl: the client that every contender gets alike, and what it cost itself."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import contenders


@dataclass(frozen=True)
class Load:
    """Is one load's result: wall seconds, requests, body bytes, and the CPU seconds of the client itself."""

    seconds: float
    requests: int
    size: int
    client: float

    @property
    def rate(self) -> float:
        """Give requests per second."""
        return self.requests / self.seconds

    @property
    def speed(self) -> float:
        """Give MB (10^6 bytes) per second."""
        return self.size / self.seconds / 1e6

    @property
    def client_share(self) -> float:
        """Give the part of the time in which the client was busy: near 1 it is the client that was measured."""
        return self.client / self.seconds


def curl(contender: contenders.Contender, urls: Path, *, parallel: int, requests: int, size: int) -> Load:
    """Fetch every URL of a curl configuration file once, on kept-alive connections."""
    command = ["curl", "-fsS", "-Z", "--parallel-immediate", "--parallel-max", str(parallel), "--http1.1"]
    command += ["--cacert", str(contender.trust), "--noproxy", "" if contender.proxy else "*"]
    command += ["--proxy", contender.proxy] if contender.proxy else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, "-K", str(urls)],
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"curl against {contender.name} ended with {done.returncode}: {done.stderr[-500:]!r}")
    client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Load(seconds, requests, size, client)


def configuration(path: Path, urls: list[str]) -> Path:
    """Write the file that names the URLs to curl."""
    path.write_text("".join(f'url = "{url}"\noutput = /dev/null\n' for url in urls))
    return path

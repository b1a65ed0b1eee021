"""Builds and runs the lean client (client.c): latencies, and rates at which curl itself would be what is measured."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import contenders
import load

_SOURCE = Path(__file__).resolve().with_name("client.c")
_MISSING = "the lean client cannot be built; hint: apt-get install gcc libc6-dev libssl-dev"


@dataclass(frozen=True)
class Answers(load.Load):
    """Is what the lean client saw: its load, quantiles of the latencies in seconds, how many sessions it resumed.

    `waited` are the seconds in which the client was ready to run and another process had its core.
    """

    p50: float
    p99: float
    worst: float
    resumed: int
    waited: float = 0.0  # Older results have none.


@dataclass(frozen=True)
class Client:
    """Is the built client, and what it asks of an origin: each path in turn."""

    program: Path
    origin: str
    paths: Path

    def closed(
        self, contender: contenders.Contender, *, connections: int, seconds: float = 60.0, requests: int = 0
    ) -> Answers:
        """Ask on each connection as soon as it is answered, for a time or (not 0) a number of requests."""
        return self._run(contender, "closed", connections, seconds, requests)

    def offered(self, contender: contenders.Contender, *, connections: int, seconds: float, rate: float) -> Answers:
        """Ask at a rate, whatever is answered: a latency counts from when the request was due."""
        return self._run(contender, "open", connections, seconds, rate)

    def fresh(self, contender: contenders.Contender, *, resume: bool, requests: int, seconds: float = 60.0) -> Answers:
        """Open one connection after the other for one request each, with the last one's TLS session or without."""
        return self._run(contender, "fresh", int(resume), seconds, requests)

    def _run(self, contender: contenders.Contender, kind: str, *numbers: float) -> Answers:
        authority = urllib.parse.urlsplit(self.origin).netloc
        to = urllib.parse.urlsplit(contender.proxy).netloc if contender.proxy else authority
        where = [*to.split(":"), authority, "tunnel" if contender.proxy else "direct"]
        words = [str(self.program), *where, str(contender.trust), str(self.paths), kind, *map(str, numbers)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the client against {contender.name} ended with {done.returncode}: {done.stderr}")
        return Answers(**json.loads(done.stdout))


def build(folder: Path) -> Path:
    """Compile the client into `folder` and give the program; raise RuntimeError where the machine cannot."""
    program = folder / "client"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(_SOURCE), "-lssl", "-lcrypto", "-lm"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError(_MISSING) from error
    if done.returncode:
        raise RuntimeError(f"{_MISSING}\n{done.stderr}")
    return program

"""Measures a replay: Hermit's replayer beside mitmproxy's server replay and nginx serving the same files directly."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import contenders
import load
import measure
import origin
import plot

from hermit_proxy.run.settings import ProxySettings

HERE = Path(__file__).resolve().parent
HERMIT = HERE.parent / ".venv" / "bin" / "hermit"
_SMALL, _TIMES, _LARGE = 1000, 10, 4
_LARGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Bodies:
    """Is what is asked for: curl configurations of many small bodies, the same often over, and a few large ones."""

    once: Path
    often: Path
    large: Path
    small_bytes: int


@dataclass
class Results:
    """Is what one contender did, round by round."""

    small: list[load.Load] = field(default_factory=list)
    large: list[load.Load] = field(default_factory=list)
    memory: float = 0.0
    start: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Give the median of small requests per second."""
        return statistics.median(one.rate for one in self.small)

    @property
    def speed(self) -> float:
        """Give the median speed of large bodies in MB/s."""
        return statistics.median(one.speed for one in self.large)

    @property
    def client(self) -> float:
        """Give the highest share of the time in which the client itself was busy."""
        return max(one.client_share for one in self.small)


def make_bodies(served: origin.Origin, folder: Path) -> Bodies:
    """Write 1,000 files of 0.8 to 60 KB and four of 64 MiB, and what names them to curl."""
    numbers = random.Random(1)  # noqa: S311  the same sizes in each run
    sizes = [numbers.randint(800, 60_000) for _ in range(_SMALL)]
    for number, size in enumerate(sizes):
        (served.files / f"small-{number}").write_bytes(numbers.randbytes(size))
    for number in range(_LARGE):
        (served.files / f"large-{number}").write_bytes(os.urandom(_LARGE_BYTES))
    small = [f"{served.url}/small-{number}" for number in range(_SMALL)]
    return Bodies(
        load.configuration(folder / "once.txt", small),
        load.configuration(folder / "often.txt", small * _TIMES),
        load.configuration(folder / "large.txt", [f"{served.url}/large-{number}" for number in range(_LARGE)]),
        sum(sizes),
    )


def record(served: origin.Origin, bodies: Bodies, folder: Path) -> ProxySettings:
    """Record everything with `hermit run`; give the settings of a replay."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    environment |= {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    config = folder / "config/hermit/config.yaml"
    config.parent.mkdir(parents=True)
    allow = f"127.0.0.1:{served.port}"
    config.write_text(f"pool: bench\nupstream:\n  allow: ['{allow}']\n  trust: {served.certificate}\n")
    project = folder / "project"
    (project / ".hermit").mkdir(parents=True)
    (project / ".hermit/rules.yaml").write_text(f"rules:\n  - pattern: '{allow}/.*'\n    action: ALLOW\n")
    fetch = f'curl -fsS -Z --parallel-max 8 --noproxy "" -K {bodies.once} && curl -fsS --noproxy "" -K {bodies.large}'
    command = [HERMIT, "run", "--quiet", "--mode", "record", "--", "sh", "-c", fetch]
    subprocess.run(command, cwd=project, env=environment, check=True)
    store = str(folder / "data/hermit/store")
    return ProxySettings(project / ".hermit/rules.yaml", project / ".hermit/network", store, "bench")


def put_load(contender: contenders.Contender, bodies: Bodies, into: Results, times: int) -> None:
    """Ask one contender for everything."""
    urls = bodies.often if times > 1 else bodies.once
    size = bodies.small_bytes * times
    into.small.append(load.curl(contender, urls, parallel=8, requests=_SMALL * times, size=size))
    large = _LARGE * _LARGE_BYTES
    into.large.append(load.curl(contender, bodies.large, parallel=_LARGE, requests=_LARGE, size=large))
    if contender.process:
        into.memory = max(into.memory, contenders.resident(contender.process))
    into.start.append(contender.started)


async def measured(folder: Path, served: origin.Origin, rounds: int) -> dict[str, Results]:
    """Put the same load on each contender in turn, round after round."""
    bodies = make_bodies(served, folder)
    settings = record(served, bodies, folder)
    flows = folder / "flows"
    with contenders.mitmproxy(folder / "mitm", flows, record=True, trust=served.certificate) as recorder:
        put_load(recorder, bodies, Results(), 1)
    direct = contenders.Contender("nginx", None, served.certificate, 0)
    results = {name: Results() for name in ("hermit", "nginx", "mitmproxy")}
    beside: Callable[..., object] = put_load
    for _ in range(rounds):
        async with contenders.hermit(settings) as replayer:
            await asyncio.to_thread(beside, replayer, bodies, results["hermit"], _TIMES)
        put_load(direct, bodies, results["nginx"], _TIMES)
        with contenders.mitmproxy(folder / "mitm", flows) as replay:
            put_load(replay, bodies, results["mitmproxy"], 1)
    return results


def table(results: dict[str, Results]) -> str:
    """Give the figures as Markdown."""
    lines = [
        "| | small requests/s | 64 MiB bodies, MB/s | memory, MiB | the client was busy |",
        "|---|---|---|---|---|",
    ]
    for name, one in results.items():
        memory = f"{one.memory:.0f}" if one.memory else ""
        lines.append(f"| {name} | {one.rate:,.0f} | {one.speed:,.0f} | {memory} | {one.client:.0%} |")
    hermit, nginx, mitmproxy = results["hermit"], results["nginx"], results["mitmproxy"]
    start = statistics.median(hermit.start)
    told = f"Small bodies: {hermit.rate / mitmproxy.rate:.1f} times mitmproxy's server replay (aim 15), "
    told += (
        f"{hermit.rate / nginx.rate:.2f} of nginx. Large bodies: {hermit.speed / nginx.speed:.2f} of nginx (aim 0.8). "
    )
    told += f"Memory {hermit.memory:.0f} MiB (aim 90 MB). Ready after {start:.2f} s (aim 0.25 s)."
    lines += ["", told]
    return "\n".join(lines) + f"\n\nMedians of one run. Machine: {measure.machine()}.\n"


def main() -> int:
    """Measure, print, and unless `--quick` write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round; nothing is written")
    quick = parser.parse_args().quick
    rounds = 1 if quick else 5
    with tempfile.TemporaryDirectory(prefix="hermit-bench-") as name, origin.nginx(Path(name) / "nginx") as served:
        results = asyncio.run(measured(Path(name), served, rounds))
    text = table(results)
    sys.stdout.write(text)
    if not quick:
        folder = HERE / "results"
        document = {"machine": measure.machine(), "time": int(time.time()), "rounds": rounds}
        document |= {name: asdict(one) for name, one in results.items()}
        (folder / "replay.json").write_text(json.dumps(document, indent=2) + "\n")
        (folder / "replay.md").write_text(text)
        bars = [(f"{name}, small", one.rate) for name, one in results.items()]
        (folder / "replay.svg").write_text(plot.bars("Small requests a second, median (more is better)", bars, "/s"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures the recording of many small bodies: Hermit's recorder beside mitmdump, which only passes them on."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import contenders
import load
import measure
import origin
import plot

from hermit_proxy.policy import Mode
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.settings import ProxySettings

HERE = Path(__file__).resolve().parent
SMALL, PARALLEL, ROUNDS = 1000, 8, 7
AIM = 1.5
# As Debian's npm asks: each request through a tunnel of its own, with a handshake at both ends.
TUNNELS = 'header = "Connection: close"\n'
NAMES = {
    "hermit": "Hermit, recording",
    "mitmdump": "mitmdump, default addons",
    "mitmdump -w": "mitmdump -w, which keeps the flows",
}


@dataclass(frozen=True)
class Round:
    """Is one turn of one contender: its load, its own processor seconds in it, its memory (MB), seconds to finish."""

    load: load.Load
    processor: float
    memory: float
    finish: float


def make(served: origin.Origin, folder: Path, count: int) -> tuple[Path, int]:
    """Write small files of 0.8 to 60 KB; give what names them to curl, and their bytes."""
    numbers = random.Random(1)  # noqa: S311  the same sizes in each run
    sizes = [numbers.randint(800, 60_000) for _ in range(count)]
    for number, size in enumerate(sizes):
        (served.files / f"small-{number}").write_bytes(numbers.randbytes(size))
    urls = [f"{served.url}/small-{number}" for number in range(count)]
    return load.configuration(folder / "urls.txt", urls), sum(sizes)


@contextlib.asynccontextmanager
async def recorder(served: origin.Origin, folder: Path) -> AsyncIterator[tuple[contenders.Contender, ProxyProcess]]:
    """Run a recorder on a loopback port, with an empty snapshot and an empty store."""
    settings = _settings(served, folder)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        proxy = await ProxyProcess.start(Mode.RECORD, settings, folder / "run", environ={"HOME": str(folder)})
        try:
            await proxy.ready()
            proxy.listen(listener)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield contenders.Contender("hermit", url, folder / "run/ca.pem", proxy.pid), proxy
        finally:
            await proxy.stop()


def _settings(served: origin.Origin, folder: Path) -> ProxySettings:
    folder.mkdir()
    rules, allow = folder / "rules.yaml", f"127.0.0.1:{served.port}"
    rules.write_text(f"rules:\n  - pattern: '{allow}/.*'\n    action: ALLOW\n")
    network, store = folder / "network", str(folder / "store")
    return ProxySettings(rules, network, store, "bench", upstream_allow=(allow,), upstream_trust=served.certificate)


@contextlib.contextmanager
def mitmdump(served: origin.Origin, folder: Path, *options: str) -> Iterator[contenders.Contender]:
    """Run mitmdump as it comes, quiet; it verifies the origin, as the recorder does."""
    port = origin.free_port()
    command = [str(contenders.MITMDUMP), "-q", "--listen-host", "127.0.0.1", "-p", str(port)]
    command += ["--set", f"confdir={folder}", "--set", f"ssl_verify_upstream_trusted_ca={served.certificate}"]
    process = subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL)
    try:
        origin.wait(port)
        url = f"http://127.0.0.1:{port}"
        yield contenders.Contender("mitmdump", url, folder / "mitmproxy-ca-cert.pem", process.pid)
    finally:
        process.terminate()
        process.wait()


def ask(contender: contenders.Contender, urls: Path, count: int, size: int) -> tuple[load.Load, float]:
    """Fetch everything once; give the load and the contender's own processor seconds."""
    warm = urls.with_name("one.txt")
    warm.write_text("".join(urls.read_text().splitlines(keepends=True)[:2]))
    load.curl(contender, warm, parallel=1, requests=1, size=0)
    before = contenders.busy(contender.process)
    result = load.curl(contender, urls, parallel=PARALLEL, requests=count, size=size)
    return result, contenders.busy(contender.process) - before


async def record(served: origin.Origin, folder: Path, urls: Path, count: int, size: int) -> Round:
    """Have Hermit record everything into an empty store; fail where anything was not recorded."""
    async with recorder(served, folder) as (contender, proxy):
        result, processor = await asyncio.to_thread(ask, contender, urls, count, size)
        memory = contenders.resident(contender.process)
        begin = time.perf_counter()
        counts = await proxy.finish()
        if (counts.recorded, counts.failed, counts.refused) != (count, 0, 0):
            raise RuntimeError(f"not all was recorded: {counts}")
        return Round(result, processor, memory, time.perf_counter() - begin)


def passed(served: origin.Origin, folder: Path, urls: Path, count: int, size: int, *options: str) -> Round:
    """Have mitmdump pass everything on."""
    with mitmdump(served, folder, *options) as contender:
        result, processor = ask(contender, urls, count, size)
        memory = contenders.resident(contender.process)
        begin = time.perf_counter()
    return Round(result, processor, memory, time.perf_counter() - begin)


def measured(
    folder: Path, served: origin.Origin, rounds: int, count: int, *, tunnels: bool = False
) -> dict[str, list[Round]]:
    """Give each contender its turn, round after round."""
    urls, size = make(served, folder, count)
    if tunnels:
        urls.write_text(urls.read_text() + TUNNELS)
    results: dict[str, list[Round]] = {name: [] for name in NAMES}
    confdir = folder / "mitm"
    for number in range(rounds):
        results["hermit"].append(asyncio.run(record(served, folder / f"hermit-{number}", urls, count, size)))
        results["mitmdump"].append(passed(served, confdir, urls, count, size))
        flows = str(folder / f"flows-{number}")
        results["mitmdump -w"].append(passed(served, confdir, urls, count, size, "-w", flows))
        sys.stderr.write(f"{[round(kind[-1].load.rate) for kind in results.values()]} requests a second\n")
    return results


def rate(rounds: list[Round]) -> float:
    """Give the median of requests a second."""
    return statistics.median(one.load.rate for one in rounds)


def table(results: dict[str, list[Round]]) -> str:
    """Give the figures as Markdown."""
    lines = [
        "| | requests a second | Hermit to it | own processor time of 1,000 | most memory | to finish | client busy |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rounds in results.items():
        processor = statistics.median(one.processor / one.load.requests * 1e3 for one in rounds)
        memory = statistics.median(one.memory for one in rounds)
        finish = statistics.median(one.finish for one in rounds)
        client = statistics.median(one.load.client_share for one in rounds)
        ratio = rate(results["hermit"]) / rate(rounds)
        told = [f"{rate(rounds):,.0f}", f"{ratio:.2f}", f"{processor:.2f} s", f"{memory:.0f} MB", f"{finish:.2f} s"]
        lines.append(f"| {NAMES[name]} | {' | '.join(told)} | {client:.0%} |")
    reached = rate(results["hermit"]) / rate(results["mitmdump"])
    lines += ["", f"The aim is {AIM} times mitmdump with its default addons; this run gave {reached:.2f}."]
    count = len(results["hermit"])
    return "\n".join(lines) + f"\n\nMedians of {count} rounds of one run. Machine: {measure.machine()}.\n"


def main() -> int:
    """Measure, print, and unless `--quick` write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 bodies, once; nothing is written")
    parser.add_argument("--tunnels", action="store_true", help="a tunnel for each request; nothing is written")
    arguments = parser.parse_args()
    quick = arguments.quick
    count, rounds = (200, 1) if quick else (SMALL, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="hermit-bench-") as name, origin.nginx(Path(name) / "nginx") as served:
        results = measured(Path(name), served, rounds, count, tunnels=arguments.tunnels)
    text = table(results)
    sys.stdout.write(text)
    if not quick and not arguments.tunnels:
        folder = HERE / "results"
        document = {"machine": measure.machine(), "time": int(time.time()), "rounds": rounds}
        document |= {kind: [asdict(one) for one in results[kind]] for kind in results}
        (folder / "recording.json").write_text(json.dumps(document, indent=1) + "\n")
        (folder / "recording.md").write_text(text)
        bars = [(NAMES[kind], rate(results[kind])) for kind in results]
        (folder / "recording.svg").write_text(plot.bars("Small requests a second (more is better)", bars, "/s"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

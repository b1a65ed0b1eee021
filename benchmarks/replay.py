"""Measures a replay: Hermit's replayer beside mitmproxy's server replay and nginx serving the same files directly."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import bodies
import client
import contenders
import figures
import load
import measure
import origin
from rounds import Lengths, Round, one, parsed

RESULTS = Path(__file__).resolve().parent / "results"
_MIB = 1 << 20

Results = dict[str, list[Round]]


async def measured(
    folder: Path, served: origin.Origin, rounds: int, lengths: Lengths, huge_bytes: int
) -> tuple[Results, figures.Huge]:
    """Put the same loads on each contender in turn, round after round; the huge body comes once at the end."""
    asked = bodies.make(served, folder, huge_bytes)
    asks = client.Client(client.build(folder), served.url, asked.paths)
    settings = bodies.record(served, asked, folder)
    flows = bodies.record_flows(served, asked, folder)
    direct = contenders.Contender("nginx", None, served.certificate, served.process)
    results: Results = {name: [] for name in figures.NAMES}
    for _ in range(rounds):
        # nginx is offered what Hermit is, so that their latencies compare; mitmproxy could not take that.
        async with contenders.hermit(settings) as replayer:
            rate = results["hermit"][0].rate if results["hermit"] else 0.0
            results["hermit"].append(await asyncio.to_thread(one, replayer, asks, asked, lengths, rate))
        results["nginx"].append(one(direct, asks, asked, lengths, results["hermit"][0].rate))
        with contenders.mitmproxy(folder / "mitm", flows) as replay:
            rate = results["mitmproxy"][0].rate if results["mitmproxy"] else 0.0
            slow = replace(lengths, often=False)
            results["mitmproxy"].append(one(replay, asks, asked, slow, rate))
        sys.stderr.write(f"{[round(kind[-1].closed.rate) for kind in results.values()]} requests a second\n")
    async with contenders.hermit(settings) as replayer:
        loads = {"hermit": await asyncio.to_thread(asked.huge_one, replayer), "nginx": asked.huge_one(direct)}
        return results, figures.Huge(loads, contenders.resident(replayer.process))


def report(results: Results, huge: figures.Huge, machine: str) -> str:
    """Give all that is told, as Markdown."""
    told = figures.quieter(results)
    rates = {name: kind[0].rate for name, kind in told.items()}
    offered = f"{rates['hermit']:,.0f} requests a second to Hermit and nginx, {rates['mitmproxy']:,.0f} to mitmproxy"
    resumed = ", ".join(
        f"{name} {sum(one.resumed.resumed for one in kind) / sum(one.resumed.requests for one in kind):.0%}"
        for name, kind in told.items()
    )
    lines = [
        figures.table(told, huge),
        f"The offered rate: {offered}, at random times:",
        "half of what Hermit and mitmproxy reached in their first turn. Latencies count from when a request was due.",
        f"Connections that did resume: {resumed}.",
        "",
        figures.clients(told),
        f"Medians of the {len(told['hermit'])} quieter of {len(results['hermit'])} turns of each in one run. Meanwhile",
        f"other processes took of the machine: {figures.others(told)}.",
        f"Machine: {machine}.",
        "",
    ]
    return "\n".join(lines)


def write(folder: Path, results: Results, huge: figures.Huge) -> None:
    """Write what was measured, from which `tell` makes the rest."""
    document = {"machine": measure.machine(), "time": int(time.time()), "huge": asdict(huge)}
    document |= {name: [asdict(turn) for turn in kind] for name, kind in results.items()}
    (folder / "replay.json").write_text(json.dumps(document, indent=1) + "\n")


def tell(folder: Path) -> str:
    """Write table and plot of what `folder` has of the last measurement; give the table."""
    document = json.loads((folder / "replay.json").read_text())
    results = {name: [parsed(turn) for turn in document[name]] for name in figures.NAMES}
    loads = {name: load.Load(**kind) for name, kind in document["huge"]["loads"].items()}
    text = report(results, figures.Huge(loads, document["huge"]["resident"]), document["machine"])
    (folder / "replay.md").write_text(text)
    (folder / "replay.svg").write_text(figures.picture(figures.quieter(results)))
    return text


def main() -> int:
    """Measure, print, and unless `--quick` write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round; nothing is written")
    parser.add_argument("--retell", action="store_true", help="measure nothing: table and plot anew from the results")
    parser.add_argument("--rounds", type=int, default=9, help="how often each contender gets its turn (9)")
    options = parser.parse_args()
    if options.retell:
        sys.stdout.write(tell(RESULTS))
        return 0
    rounds = 1 if options.quick else options.rounds
    lengths = Lengths(1.0, 100, often=True) if options.quick else Lengths(2.0, 300, often=True)
    huge = 256 if options.quick else 2048
    measure.come_first()
    with tempfile.TemporaryDirectory(prefix="hermit-bench-") as name, origin.nginx(Path(name) / "nginx") as served:
        results, most = asyncio.run(measured(Path(name), served, rounds, lengths, huge * _MIB))
    if options.quick:
        sys.stdout.write(report(results, most, measure.machine()))
    else:
        write(RESULTS, results, most)
        sys.stdout.write(tell(RESULTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())

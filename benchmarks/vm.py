"""Measures VMs: from the request to a first step by phase, cold and out of the pool, the end, and the wire."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import measure
import vmplace
import vmturn
import vmwire
from vmfigures import BARE, COLD_VM, KINDS, SANDBOXED, TUNED_BARE, WARM_VM, Figures
from vmturn import Turn

RESULTS = Path(__file__).resolve().parent / "results"


async def measured(rounds: int) -> Figures:
    """Measure every kind once, then again, so that a slow minute of the machine hits all of them."""
    vmturn.look_on()
    with tempfile.TemporaryDirectory(prefix="hvb", dir="/tmp") as name:
        try:
            place = await vmplace.make(Path(name))
            kinds: dict[str, Callable[[], Awaitable[Turn]]] = {
                BARE: lambda: vmturn.bare(place),
                TUNED_BARE: lambda: vmturn.bare(place, vmturn.TUNED),
                COLD_VM: lambda: vmturn.cold(place),
                SANDBOXED: lambda: vmturn.sandbox(place),
                WARM_VM: lambda: vmturn.warm(place),
            }
            await vmturn.cold(place)  # the first one asks QEMU what it can do, which libvirt then keeps
            turns: dict[str, list[Turn]] = {kind: [] for kind in KINDS}
            for number in range(1, rounds + 1):
                for kind, run in kinds.items():
                    turns[kind].append(await run())
                told = ", ".join(f"{kind} {turns[kind][-1].seconds:.2f}" for kind in KINDS)
                sys.stderr.write(f"round {number} of {rounds}: {told}\n")
            wire = await vmwire.rates(place)
        finally:
            await vmplace.leave(Path(name))
    kind = "emulated" if place.shape.kind == "qemu" else "KVM"
    machine = f"{measure.machine()}; {kind}, guests with {vmplace.PROCESSORS} processors and 2 GiB"
    return Figures(machine, turns, wire)


def write(folder: Path, figures: Figures) -> None:
    """Write what was measured, from which `tell` makes the rest."""
    document = {"time": int(time.time()), **asdict(figures)}
    (folder / "vm.json").write_text(json.dumps(document, indent=1) + "\n")


def read(folder: Path) -> Figures:
    """Read what was measured last."""
    document = json.loads((folder / "vm.json").read_text())
    turns = {kind: [Turn(**turn) for turn in told] for kind, told in document["turns"].items()}
    return Figures(document["machine"], turns, document["wire"])


def tell(folder: Path) -> str:
    """Write table and plot of what `folder` has of the last measurement; give the table."""
    figures = read(folder)
    (folder / "vm.md").write_text(figures.table())
    (folder / "vm.svg").write_text(figures.picture())
    return figures.table()


def main() -> int:
    """Measure, print, and write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each kind once; nothing is written")
    parser.add_argument("--retell", action="store_true", help="measure nothing: table and plot anew from the results")
    parser.add_argument("--rounds", type=int, default=10, help="how often each kind gets its turn (10)")
    options = parser.parse_args()
    if options.retell:
        sys.stdout.write(tell(RESULTS))
        return 0
    measure.come_first()
    try:
        figures = asyncio.run(measured(1 if options.quick else options.rounds))
    except vmplace.NoImageError as error:
        sys.stderr.write(f"vm: {error}\n")
        return 4
    if options.quick:
        sys.stdout.write(figures.table())
    else:
        write(RESULTS, figures)
        sys.stdout.write(tell(RESULTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())

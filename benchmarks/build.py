"""Measures builds: recorded and hermetic against the same steps straight to the registries, and the start of a cell."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import buildfigures
import buildturn
import distance
import measure
import samples
import straight
from buildfigures import HERMETIC, KINDS, RECORDED, STRAIGHT, Figures, Start
from buildturn import Turn
from distance import Way

from hermit_proxy.errors import HermitError

RESULTS = Path(__file__).resolve().parent / "results"
# Milliseconds of round trip to the registries beyond what this machine has: next door, and as on a good line.
DISTANCES = (0, 20)
LONG_ROUNDS = 2


def built(place: samples.Place, name: str, ways: Sequence[Way], rounds: int) -> dict[int, dict[str, list[Turn]]]:
    """Build a sample each way straight, recorded and hermetic, once each, and again: a slow minute hits all of them."""
    project = place.project(name)
    tree = straight.Tree(place.image(project), place.folder / "straight", project)

    def recorded(way: Way) -> Turn:
        place.forget(project)
        return buildturn.hermit(place, project, "record", way)

    builds: dict[str, Callable[[Way], Turn]] = {
        STRAIGHT: lambda way: buildturn.direct(tree, way),
        RECORDED: recorded,
        HERMETIC: lambda way: buildturn.hermit(place, project, "hermetic", way),
    }
    turns: dict[int, dict[str, list[Turn]]] = {way.away: {kind: [] for kind in KINDS} for way in ways}
    for _ in range(min(rounds, LONG_ROUNDS) if name in samples.LONG else rounds):
        for way in ways:
            for kind, build in builds.items():
                turns[way.away][kind].append(build(way))
    return turns


def start(place: samples.Place, rounds: int) -> Start:
    """Measure a cell that runs `true`, and bubblewrap alone over the same tree."""
    image = place.image(place.project("nothing"))
    runs = measure.in_turn(
        {
            "cell": lambda: asyncio.run(straight.cell(image, place.folder / "cell")),
            "bubblewrap": lambda: measure.run(
                ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"], place.environment()
            ),
        },
        rounds * 4 + 1,
    )
    return Start(measure.median(runs["cell"]), measure.median(runs["bubblewrap"]))


def measured(names: Iterable[str], distances: Iterable[int], rounds: int) -> Figures:
    """Measure all; a sample that fails is told and left out, so that it does not take the others with it.

    `distances` are in ms; where one of them cannot be, it is a HermitError before anything was measured.
    """
    builds, failed = {}, []
    with contextlib.ExitStack() as stack:
        ways = [stack.enter_context(distance.away(one)) for one in distances]
        place = samples.Place(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hermit-bench-"))))
        stack.callback(place.leave)
        for name in names:
            place.project(name)
        cell = start(place, rounds)
        connects = {way.away: way.connect(place.registries()) for way in ways}
        for name in names:
            try:
                builds[name] = built(place, name, ways, rounds)
            except RuntimeError as error:
                failed.append(name)
                sys.stderr.write(f"{name}: {error}\n")
                continue
            for away, kinds in builds[name].items():
                told = {kind: round(buildfigures.seconds(turns), 2) for kind, turns in kinds.items()}
                sys.stderr.write(f"{name}, {buildfigures.far(away)}: {told}\n")
    return Figures(measure.machine(), cell, builds, failed, connects)


def write(folder: Path, figures: Figures) -> None:
    """Write what was measured, from which `tell` makes the rest."""
    document = {"time": int(time.time()), **asdict(figures)}
    (folder / "build.json").write_text(json.dumps(document, indent=1) + "\n")


def read(folder: Path) -> Figures:
    """Read what was measured last."""
    document = json.loads((folder / "build.json").read_text())
    builds = {name: _distances(told) for name, told in document["builds"].items()}
    connects = {int(away): seconds for away, seconds in document.get("connects", {}).items()}
    return Figures(document["machine"], Start(**document["start"]), builds, document["failed"], connects)


def _distances(told: dict[str, Any]) -> dict[int, dict[str, list[Turn]]]:
    if STRAIGHT in told:  # Older results know no distance.
        told = {"0": told}
    return {
        int(away): {kind: [buildturn.parsed(turn) for turn in turns] for kind, turns in kinds.items()}
        for away, kinds in told.items()
    }


def tell(folder: Path) -> str:
    """Write table and plot of what `folder` has of the last measurement; give the table."""
    figures = read(folder)
    (folder / "build.md").write_text(figures.table())
    (folder / "build.svg").write_text(figures.picture())
    return figures.table()


def _stop(_signal: int, _frame: object) -> None:
    """Leave as after an error: everything that was made goes."""
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    """Measure, print, and where everything was measured write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each build once; nothing is written")
    parser.add_argument(
        "--only", action="append", choices=samples.NAMES, help="this sample (again for more); not written"
    )
    parser.add_argument(
        "--away",
        action="append",
        type=int,
        metavar="MS",
        help="with the registries so much round trip further away, which needs root; again for more; not written"
        f" ({' and '.join(map(str, DISTANCES))})",
    )
    parser.add_argument("--retell", action="store_true", help="measure nothing: table and plot anew from the results")
    parser.add_argument("--rounds", type=int, default=3, help=f"turns of each build (3, long ones {LONG_ROUNDS})")
    options = parser.parse_args()
    if options.retell:
        sys.stdout.write(tell(RESULTS))
        return 0
    signal.signal(signal.SIGTERM, _stop)
    measure.come_first()
    names = [name for name in samples.NAMES if not options.only or name in options.only]
    try:
        figures = measured(names, sorted(set(options.away or DISTANCES)), 1 if options.quick else options.rounds)
    except HermitError as error:
        sys.stderr.write(f"{error}\n{error.hint or ''}\n")
        return error.exit_code
    if options.quick or options.only or options.away or not figures.builds:
        sys.stdout.write(figures.table())
    else:
        write(RESULTS, figures)
        sys.stdout.write(tell(RESULTS))
    return 1 if figures.failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures builds: recorded and hermetic against the same steps straight to the registries, and the start of a cell."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import buildfigures
import buildturn
import measure
import samples
import straight
from buildfigures import HERMETIC, KINDS, RECORDED, STRAIGHT, Figures, Start
from buildturn import Turn

RESULTS = Path(__file__).resolve().parent / "results"


def built(place: samples.Place, name: str, rounds: int) -> dict[str, list[Turn]]:
    """Build a sample straight, recorded and hermetic, once each, and again, so that a slow minute hits all of them."""
    project = place.project(name)
    tree = straight.Tree(place.image(project), place.folder / "straight", project)

    def recorded() -> Turn:
        place.forget(project)
        return buildturn.hermit(place, project, "record")

    builds: dict[str, Callable[[], Turn]] = {
        STRAIGHT: lambda: buildturn.direct(tree),
        RECORDED: recorded,
        HERMETIC: lambda: buildturn.hermit(place, project, "hermetic"),
    }
    turns: dict[str, list[Turn]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, build in builds.items():
            turns[kind].append(build())
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


def measured(names: Iterable[str], rounds: int) -> Figures:
    """Measure all; a sample that fails is told and left out, so that it does not take the others with it."""
    builds, failed = {}, []
    with tempfile.TemporaryDirectory(prefix="hermit-bench-") as folder:
        place = samples.Place(Path(folder))
        try:
            cell = start(place, rounds)
            for name in names:
                try:
                    builds[name] = built(place, name, rounds)
                except RuntimeError as error:
                    failed.append(name)
                    sys.stderr.write(f"{name}: {error}\n")
                    continue
                told = {kind: round(buildfigures.seconds(turns), 2) for kind, turns in builds[name].items()}
                sys.stderr.write(f"{name}: {told}\n")
        finally:
            place.leave()
    return Figures(measure.machine(), cell, builds, failed)


def write(folder: Path, figures: Figures) -> None:
    """Write what was measured, from which `tell` makes the rest."""
    document = {"time": int(time.time()), **asdict(figures)}
    (folder / "build.json").write_text(json.dumps(document, indent=1) + "\n")


def read(folder: Path) -> Figures:
    """Read what was measured last."""
    document = json.loads((folder / "build.json").read_text())
    builds = {
        name: {kind: [buildturn.parsed(turn) for turn in turns] for kind, turns in kinds.items()}
        for name, kinds in document["builds"].items()
    }
    return Figures(document["machine"], Start(**document["start"]), builds, document["failed"])


def tell(folder: Path) -> str:
    """Write table and plot of what `folder` has of the last measurement; give the table."""
    figures = read(folder)
    (folder / "build.md").write_text(figures.table())
    (folder / "build.svg").write_text(figures.picture())
    return figures.table()


def main() -> int:
    """Measure, print, and where everything was measured write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each build once; nothing is written")
    parser.add_argument(
        "--only", action="append", choices=samples.NAMES, help="this sample (again for more); not written"
    )
    parser.add_argument("--retell", action="store_true", help="measure nothing: table and plot anew from the results")
    parser.add_argument("--rounds", type=int, default=3, help="how often each build gets its turn (3)")
    options = parser.parse_args()
    if options.retell:
        sys.stdout.write(tell(RESULTS))
        return 0
    measure.come_first()
    names = [name for name in samples.NAMES if not options.only or name in options.only]
    figures = measured(names, 1 if options.quick else options.rounds)
    if options.quick or options.only or not figures.builds:
        sys.stdout.write(figures.table())
    else:
        write(RESULTS, figures)
        sys.stdout.write(tell(RESULTS))
    return 1 if figures.failed else 0


if __name__ == "__main__":
    sys.exit(main())

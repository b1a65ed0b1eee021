"""Measures builds: recorded and hermetic against the same steps straight to the registries, and the start of a cell."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import measure
import plot
import samples
import straight

HERE = Path(__file__).resolve().parent
HERMIT = HERE.parent / ".venv" / "bin" / "hermit"
AIMS = {"recorded": 1.3, "hermetic": 1.0}
START_AIM = 0.15


@dataclass(frozen=True)
class Row:
    """Is one sample's medians in seconds."""

    name: str
    straight: float
    recorded: float
    hermetic: float


def builds(place: samples.Place, rounds: int) -> list[Row]:
    """Build each sample straight, recorded and hermetic, in turn."""
    rows = []
    for name in samples.SAMPLES:
        project = place.project(name)
        tree = straight.Tree(place.image(project), place.folder / "straight", project)

        def hermit(mode: str, project: Path = project) -> measure.Run:
            if mode == "record":
                shutil.rmtree(project / ".hermit" / "network", ignore_errors=True)
                place.forget()
            return measure.run([str(HERMIT), "build", "--quiet", "--mode", mode, str(project)], place.environment())

        runs = measure.in_turn(
            {
                "straight": lambda tree=tree: tree.run(),
                "recorded": lambda hermit=hermit: hermit("record"),
                "hermetic": lambda hermit=hermit: hermit("hermetic"),
            },
            rounds,
        )
        rows.append(Row(name, **{kind: measure.median(runs[kind]) for kind in runs}))
        sys.stderr.write(f"{rows[-1]}\n")
    return rows


def start(place: samples.Place, rounds: int) -> tuple[float, float]:
    """Give the median seconds of a cell that runs `true`, and of bubblewrap alone over the same tree."""
    image = place.image(place.project("pip"))
    runs = measure.in_turn(
        {
            "cell": lambda: asyncio.run(straight.cell(image, place.folder / "cell")),
            "bubblewrap": lambda: measure.run(
                ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"], place.environment()
            ),
        },
        rounds * 4 + 1,
    )
    return measure.median(runs["cell"]), measure.median(runs["bubblewrap"])


def main() -> int:
    """Measure, print, and unless `--quick` write the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each build once; nothing is written")
    quick = parser.parse_args().quick
    rounds = 1 if quick else 3
    with tempfile.TemporaryDirectory(prefix="hermit-bench-") as name:
        place = samples.Place(Path(name))
        try:
            cell, alone = start(place, rounds)
            rows = builds(place, rounds)
        finally:
            place.leave()
    text = table(rows, cell, alone)
    sys.stdout.write(text)
    if not quick:
        results = HERE / "results"
        document = {"machine": measure.machine(), "time": int(time.time()), "rounds": rounds}
        document |= {"builds": [asdict(row) for row in rows], "start": {"cell": cell, "bubblewrap": alone}}
        (results / "build.json").write_text(json.dumps(document, indent=2) + "\n")
        (results / "build.md").write_text(text)
        bars = [(f"{row.name}, {kind}", getattr(row, kind)) for row in rows for kind in ("straight", *AIMS)]
        (results / "build.svg").write_text(plot.bars("Seconds of a build, median (less is better)", bars, "s"))
    return 0


def table(rows: list[Row], cell: float, alone: float) -> str:
    """Give the figures as Markdown."""
    lines = [
        "| build | straight | recorded | ratio (aim 1.3) | hermetic | ratio (aim 1.0) |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratios = row.recorded / row.straight, row.hermetic / row.straight
        seconds = f"| {row.name} | {row.straight:.1f} s | {row.recorded:.1f} s | {ratios[0]:.2f}"
        lines.append(f"{seconds} | {row.hermetic:.1f} s | {ratios[1]:.2f} |")
    lines += ["", f"A cell that runs `true`, from nothing to nothing, beyond bubblewrap itself: {cell - alone:.2f} s"]
    lines[-1] += f" (aim {START_AIM} s)."
    return "\n".join(lines) + f"\n\nMedians of one run. Machine: {measure.machine()}.\n"


if __name__ == "__main__":
    sys.exit(main())

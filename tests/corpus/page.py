"""Writes docs/corpus.md: every project, what its build shows, and how its trial ended."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from hermit_cli.output import bytes_as_text
from tests.corpus import project as projects
from tests.corpus.project import Project
from tests.corpus.trial import Trial

PAGE = Path(__file__).resolve().parents[2] / "docs/corpus.md"
# What the last trials said, so that a trial of a few projects leaves the others' lines as they are.
RESULTS = Path(__file__).parent / "results.json"
_COMMAND = "python -m tests.corpus --write"
_HEAD = f"""# Real projects

Each of these projects was fetched as its registry has it, built unchanged by `hermit build` in record mode, and then
built twice more in a network namespace without any route, from its own snapshot. The outputs of the three builds were
compared byte by byte; where they differ, the reason stands below. `{_COMMAND}` does all of that and
writes this page, with `--only NAME` or `--only KIND` for a part of it; what is tried is data, in
[tests/corpus](../tests/corpus/README.md).

Seconds are those of the steps, in one run on a machine with two cores that others used as well.

"""
_COLUMNS = "| kind | project | what it shows | requests | fetched | recorded | hermetic | outputs |\n"
_RULE = "|---|---|---|---:|---:|---:|---:|---|\n"


@dataclass(frozen=True, slots=True)
class Line:
    """Is what is kept of a trial: bytes, seconds and what was the same."""

    requests: int
    size: int
    recorded: float
    hermetic: float
    artifacts: int
    differing: int


def line_of(trial: Trial) -> Line:
    """Give what the page says of a trial; of two hermetic builds the slower one."""
    verdict = trial.verdict
    return Line(
        trial.requests,
        trial.size,
        round(trial.recorded_in, 1),
        round(max(trial.replayed_in), 1),
        verdict.artifacts,
        len(verdict.differing),
    )


def write(trial: Trial) -> None:
    """Write the page, with a trial's line in the place of what it said of the project before."""
    with RESULTS.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # there may be several trials at once
        lines = {**_read(), trial.project.name: line_of(trial)}
        known = projects.names()
        kept = {name: lines[name] for name in known if name in lines}
        file.truncate(0)
        file.write(json.dumps({name: asdict(line) for name, line in kept.items()}, indent=1) + "\n")
        file.flush()
        PAGE.write_text(render([projects.read(name) for name in known], kept))


def render(every: Iterable[Project], lines: dict[str, Line]) -> str:
    """Give the text of the page."""
    every = list(every)
    rows = [_row(project, lines.get(project.name)) for project in every]
    reasons = [_reason(project) for project in every if project.differs]
    rest = ["\n## Why outputs differ\n\n", *reasons] if reasons else []
    return "".join([_HEAD, _COLUMNS, _RULE, *rows, *rest])


def _row(project: Project, line: Line | None) -> str:
    cells = [project.kind, f"{project.name} ({project.version})", project.shows]
    if line is None:
        return f"| {' | '.join([*cells, '', '', '', '', 'not tried yet'])} |\n"
    many = "1 file" if line.artifacts == 1 else f"{line.artifacts} files"
    same = f"{many}, the same" if not line.differing else f"{many}, {line.differing} [differ](#{project.name})"
    times = [f"{line.recorded:.1f} s", f"{line.hermetic:.1f} s"]
    return f"| {' | '.join([*cells, str(line.requests), bytes_as_text(line.size), *times, same])} |\n"


def _reason(project: Project) -> str:
    told = [f"- `{pattern}`: {reason}\n" for pattern, reason in (project.differs or {}).items()]
    return "".join([f"### {project.name}\n\n", *told, "\n"])


def _read() -> dict[str, Line]:
    text = RESULTS.read_text() if RESULTS.exists() else ""
    return {name: Line(**line) for name, line in json.loads(text or "{}").items()}

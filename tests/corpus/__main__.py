"""Is `python -m tests.corpus`: tries real projects and tells which replay, and whether their outputs are the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from hermit_proxy.errors import ExitCode, HermitError
from tests.corpus import machines, page
from tests.corpus import project as projects
from tests.corpus.machines import MachineTrial, try_in_machines
from tests.corpus.project import KINDS, Project
from tests.corpus.trial import Place, Trial, try_project


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what is asked for and give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description="Try real projects (docs/corpus.md).")
    parser.add_argument("--only", action="append", default=[], metavar="NAME|KIND", help="these only; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many at once")
    parser.add_argument("--write", action="store_true", help="write the results to docs/corpus.md")
    parser.add_argument("--cell", choices=("sandbox", "vm"), default="sandbox", help="vm: and compare with the sandbox")
    parser.add_argument("--list", action="store_true", help="name the projects and try none")
    chosen = parser.parse_args(arguments)
    try:
        wanted = choose(chosen.only)
    except HermitError as error:
        _say(str(error))
        return int(error.exit_code)
    if chosen.list:
        for one in wanted:
            _say(f"{one.kind:8}{one.name:24}{one.shows}")
        return 0
    place = Place.of_user()
    with ThreadPoolExecutor(max(1, chosen.jobs)) as pool:
        attempt = _try_in_machines if chosen.cell == "vm" else partial(_try, write=chosen.write)
        ended = list(pool.map(lambda one: _attempted(attempt, one, place), wanted))
    good = sum(ended)
    _say(f"{good} of {len(wanted)} projects replay as their data says; what they left is in {place.folder / 'work'}")
    return 0 if good == len(wanted) else int(ExitCode.FAILED)


def choose(only: Sequence[str]) -> list[Project]:
    """Give the projects that names and kinds mean, all without any; raise HermitError for an unknown one."""
    every = [projects.read(name) for name in projects.names()]
    known = {*KINDS, *(project.name for project in every)}
    if unknown := [name for name in only if name not in known]:
        raise HermitError(f"no project and no kind: {', '.join(unknown)}; python -m tests.corpus --list names them")
    return [project for project in every if not only or {project.name, project.kind} & set(only)]


def _attempted(attempt: Callable[[Project, Place], bool], project: Project, place: Place) -> bool:
    """Try a project and tell whether it is as its data says; what keeps it from being tried is told, too."""
    try:
        return attempt(project, place)
    except HermitError as error:
        _say(f"FAILED  {project.kind:8}{project.name:24}{error}")
    except pytest.skip.Exception as error:
        _say(f"SKIPPED {project.kind:8}{project.name:24}{error}")
    return False


def _try(project: Project, place: Place, *, write: bool) -> bool:
    trial = try_project(project, place)
    _say(tell(trial, place.work(project)))
    if write and trial.verdict.good:
        page.write(trial)
    return trial.verdict.good


def _try_in_machines(project: Project, place: Place) -> bool:
    trial: MachineTrial = try_in_machines(project, place)
    _say(machines.tell(trial, place.work(project)))
    return trial.good


def tell(trial: Trial, work: Path) -> str:
    """Give the lines that say how a trial ended."""
    verdict, project, line = trial.verdict, trial.project, page.line_of(trial)
    outcome = "ok     " if verdict.good else "FAILED "
    same = f"{len(verdict.differing)} of {verdict.artifacts} files differ" if verdict.differing else "the same"
    times = f"{line.recorded:7.1f} s recorded {line.hermetic:7.1f} s hermetic"
    lines = [f"{outcome} {project.kind:8}{project.name:24}{line.requests:6} requests {times}  {same}"]
    if not verdict.artifacts:
        lines.append("there are no artifacts to compare: does build.yaml name them?")
    differences = work / "differences"
    lines += [f"differs without a reason on record: {name} ({differences}/{name}.txt)" for name in verdict.unexplained]
    lines += [f"does not differ any more, take it out of project.yaml: {pattern}" for pattern in verdict.obsolete]
    return "\n          ".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

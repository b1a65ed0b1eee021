"""Puts one project to the trial: recorded, then built twice where there is no network, then compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hermit_proxy.errors import HermitError
from tests.corpus.compare import Verdict, compare, explain
from tests.corpus.make import hosts, make
from tests.corpus.project import Project
from tests.corpus.servers import ADDRESS, served
from tests.support.hermit import UNPLUGGED
from tests.support.registries import Registry

# A build that hangs must not hold up the rest; an image that has to be made first is part of the recording.
_TIMEOUT = 1200
_SHOWN_BYTES = 1500


class TrialError(HermitError):
    """Is raised where a build did not end as it must; the message has the end of what it said."""


@dataclass(frozen=True, slots=True)
class Place:
    """Is where trials keep what they make: `cache` for what was fetched, `data` for images and bodies, `work`."""

    folder: Path

    @classmethod
    def of_user(cls) -> Place:
        """Give the user's own, which later trials find again."""
        base = os.environ.get("XDG_CACHE_HOME", "")
        return cls((Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "hermit-corpus")

    @property
    def cache(self) -> Path:
        """Give the folder of fetched files, named by digest."""
        return self.folder / "fetched"

    def work(self, project: Project) -> Path:
        """Give the folder of one project: made anew by each trial, left for a look at it."""
        return self.folder / "work" / project.name

    def environment(self, project: Project) -> dict[str, str]:
        """Give the environment of `hermit`: the images are shared, all else is the project's own."""
        work = self.work(project)
        own = {f"XDG_{name}_HOME": str(work / name.lower()) for name in ("CONFIG", "STATE")}
        runtime = work / "runtime"
        # What VMs boot from is made once for each image, and there is one for all projects.
        own["XDG_CACHE_HOME"] = str(self.folder / "machines")
        return {**os.environ, **own, "XDG_DATA_HOME": str(self.folder / "data"), "XDG_RUNTIME_DIR": str(runtime)}


@dataclass(frozen=True, slots=True)
class Trial:
    """Is how a trial ended: requests and bytes of the recording, seconds of each build's steps, and the verdict."""

    project: Project
    requests: int
    size: int
    recorded_in: float
    replayed_in: tuple[float, ...]
    verdict: Verdict


def try_project(project: Project, place: Place) -> Trial:
    """Make the project, record it, build it twice unplugged and compare the three outputs; raise HermitError."""
    with laid_out(project, place):
        recorded = build(project, place, "record", "recorded")
    replayed = [build(project, place, "hermetic", f"hermetic-{number}") for number in (1, 2)]
    verdict = judged(project, place, ("recorded", "hermetic-1", "hermetic-2"))
    return Trial(
        project=project,
        requests=int(recorded["requests"]),
        size=int(recorded["bytes"]),
        recorded_in=seconds(recorded),
        replayed_in=tuple(seconds(found) for found in replayed),
        verdict=verdict,
    )


@contextmanager
def laid_out(project: Project, place: Place, **settings: Any) -> Iterator[None]:
    """Make the project anew and serve what it fetches from us; `settings` are its user's, besides what it needs."""
    work = place.work(project)
    _remove(work)
    work.mkdir(parents=True)
    (work / "runtime").mkdir(mode=0o700)
    with served(project, work / "served", place.cache) as server:
        make(project, work / project.name, place.cache, server)
        _write_settings(project, work, server, settings)
        yield


def judged(project: Project, place: Place, names: tuple[str, ...]) -> Verdict:
    """Compare the outputs of builds by the builds' names, and write down what diffoscope says of the last two."""
    outputs = [place.work(project) / f"out-{name}" for name in names]
    verdict = compare(outputs, project.differs or {})
    for name in verdict.differing:
        report = place.work(project) / "differences" / f"{name}.txt"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(explain(outputs[-2] / name, outputs[-1] / name))
    return verdict


def _write_settings(project: Project, work: Path, server: str, more: dict[str, Any]) -> None:
    """Write the user's settings: what has a special address here is allowed, as its registries and our own server."""
    asked = hosts(sorted({*project.asks, "apt"}))
    allow = [*Registry("", asked).allow, *([ADDRESS] if server else [])]
    settings = work / "config/hermit/config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(yaml.safe_dump({"upstream": {"allow": allow}, **more}))


def build(project: Project, place: Place, mode: str, name: str, cell: str = "sandbox") -> dict[str, Any]:
    """Build it and give the object of `--json`, unplugged where it is hermetic; raise TrialError."""
    work = place.work(project)
    prefix = UNPLUGGED if mode == "hermetic" else []
    options = ["--mode", mode, "--cell", cell, "--json", "--out", f"{work}/out-{name}", "--log", f"{work}/{name}.jsonl"]
    command = [*prefix, sys.executable, "-m", "hermit_cli.main", "build", *options, str(work / project.name)]
    started = time.monotonic()
    done = subprocess.run(
        command,
        env=place.environment(project),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_TIMEOUT,
    )
    (work / f"{name}.txt").write_text(done.stdout + done.stderr)
    if done.returncode:
        told = _told(done.stdout, done.stderr)
        raise TrialError(
            f"{project.name}: {mode} ended with {done.returncode} in {time.monotonic() - started:.0f} s\n{told}"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seconds(told: dict[str, Any]) -> float:
    """Add up the steps: an image that has to be made first is the next project's luck."""
    return sum(float(step["seconds"]) for step in told["steps"])


def _told(stdout: str, stderr: str) -> str:
    """Give the end of what a failed build said, and what it asked for in vain."""
    try:
        unanswered = json.loads(stdout).get("unanswered", [])
    except ValueError:
        unanswered = []
    refused = [f"  {one['outcome']}: {one['method']} {one['url']}: {one['reason']}" for one in unanswered[:5]]
    return "\n".join([(stderr or stdout)[-_SHOWN_BYTES:].rstrip(), *refused])


def _remove(folder: Path) -> None:
    """Remove what an earlier trial left; files without permissions of their own are no obstacle."""
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)

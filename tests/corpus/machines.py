"""Puts one project to the trial in VMs: the snapshot and the outputs have to be the sandbox's, byte for byte."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.compare import Verdict
from tests.corpus.project import Project
from tests.corpus.trial import Place, build, judged, laid_out, seconds

# It is set aside as a whole, and no project of the corpus needs as much as builds get without a word.
_MEMORY = "4 GiB"
_BUILDS = ("recorded", "vm-recorded", "vm-hermetic")


@dataclass(frozen=True, slots=True)
class MachineTrial:
    """Is how a trial ended: seconds of the steps of each build, the snapshot's files that differ, and the outputs."""

    project: Project
    requests: int
    took: tuple[float, ...]
    snapshot: tuple[str, ...]
    verdict: Verdict

    @property
    def good(self) -> bool:
        """Tell whether VMs gave what the sandbox gave."""
        return self.verdict.good and not self.snapshot


def try_in_machines(project: Project, place: Place) -> MachineTrial:
    """Record the project in a sandbox and anew in a VM, build it in another VM unplugged; raise HermitError."""
    hermit = place.work(project) / project.name / ".hermit"
    sandboxes = place.work(project) / "snapshot-of-the-sandbox"
    with laid_out(project, place, limits={"memory": _MEMORY}):
        first = build(project, place, "record", _BUILDS[0])
        shutil.move(hermit / "network", sandboxes)
        (hermit / "recorded").unlink()
        second = build(project, place, "record", _BUILDS[1], "vm")
    third = build(project, place, "hermetic", _BUILDS[2], "vm")
    return MachineTrial(
        project=project,
        requests=int(second["requests"]),
        took=tuple(seconds(one) for one in (first, second, third)),
        snapshot=_differing(sandboxes, hermit / "network"),
        verdict=judged(project, place, _BUILDS),
    )


def tell(trial: MachineTrial, work: Path) -> str:
    """Give the lines that say how a trial ended."""
    verdict, project = trial.verdict, trial.project
    took = ", ".join(f"{one:.1f} s {name}" for one, name in zip(trial.took, _BUILDS, strict=True))
    outcome = "ok     " if trial.good else "FAILED "
    lines = [f"{outcome} {project.kind:8}{project.name:24}{trial.requests:6} requests; {took}"]
    lines += [f"the snapshot differs from the sandbox's: {name}" for name in trial.snapshot]
    lines += [f"differs: {name} ({work}/differences/{name}.txt)" for name in verdict.differing]
    return "\n          ".join(lines)


def _differing(one: Path, other: Path) -> tuple[str, ...]:
    found = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (one, other)]
    return tuple(name for name in sorted({*found[0], *found[1]}) if found[0].get(name) != found[1].get(name))

"""Tells what a build is about to do and what it did: what every run tells, its steps, and how its artifacts compare."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermit_cli.build.comparison import Comparison, Identity, say_comparison
from hermit_cli.build.submodules import unfetched
from hermit_cli.output import bytes_as_text, say, say_styled, time_as_text
from hermit_cli.summary import RunReport, status_as_text, told_of_counts
from hermit_cli.table import counted
from hermit_proxy.errors import ExitCode
from hermit_proxy.policy import Mode
from hermit_steps.plan import Plan
from hermit_workers.artifacts import Artifact
from hermit_workers.source.worktree import Source

_SHOWN = 12
_HEX = 12


@dataclass(frozen=True, slots=True)
class StepDone:
    """Is one step as it ended: `counts` are its own of the proxy's counts, `dropped` the bytes not shown of its output.

    `exceeded` is the sentence of the limit that ended it and all the build.
    """

    number: int
    name: str
    title: str
    network: str
    status: int
    seconds: float
    counts: Mapping[str, int]
    exceeded: str | None = None
    dropped: int = 0

    def to_json(self) -> dict[str, Any]:
        """Give the step's object in `--json`."""
        fields = {name: getattr(self, name) for name in ("number", "name", "title", "network", "status", "exceeded")}
        return {**fields, "seconds": round(self.seconds, 3), "dropped": self.dropped, **self.counts}


@dataclass(frozen=True, slots=True)
class BuildReport(RunReport):
    """Is one build as it ended.

    `command` are the arguments that name the project, `cell` says in what it ran; `steps` are those that were begun, of
    `planned`; `kept` is the size in bytes of what --keep left; `was` is where the first artifact that differs lies as
    it was before.
    """

    steps: tuple[StepDone, ...] = ()
    planned: int = 0
    artifacts: tuple[Artifact, ...] | None = None
    out: Path | None = None
    comparison: Comparison | None = None
    identity: Identity | None = None
    commit: str = ""
    changes: int = 0
    steps_log: Path | None = None
    kept: int | None = None
    project: Path | None = None
    was: Path | None = None
    cell: str = "sandbox"

    def result(self) -> dict[str, Any]:
        """Give what is remembered of a build: with it a later one can tell whether it made the same."""
        build = {
            "project": str(self.project),
            "commit": self.commit,
            "identity": self.identity and self.identity.to_json(),
            "artifacts": None if self.artifacts is None else {kept.path: kept.sha256 for kept in self.artifacts},
        }
        return {**RunReport.result(self), "build": build}

    def to_json(self) -> dict[str, Any]:
        """Give the object of `--json`."""
        compared = self.comparison
        build = {
            "project": str(self.project),
            "commit": self.commit,
            "changes": self.changes,
            "cell": self.cell,
            "identity": self.identity and self.identity.to_json(),
            "steps": [step.to_json() for step in self.steps],
            "planned": self.planned,
            "artifacts": None if self.artifacts is None else [_artifact(kept) for kept in self.artifacts],
            "out": str(self.out) if self.out else None,
            "same": compared.same if compared and not compared.changed else None,
            "compared_with": compared
            and {"time": compared.when, "mode": compared.mode, "changed": list(compared.changed)},
            "differing": list(compared.differing + compared.missing + compared.added) if compared else [],
            "kept": self.kept,
            "steps_log": str(self.steps_log) if self.steps_log else None,
        }
        return {**RunReport.to_json(self), **build}

    def next_step(self) -> str | None:
        """Say what the reader most likely wants to do now."""
        if step := RunReport.next_step(self):
            return step
        place = self.command[:1]
        if self.kept is not None:
            return shlex.join(["hermit", "shell", *place]) + "    (a shell in what it left)"
        failed = self.failure or any(step.status for step in self.steps)
        if self.exit_code is ExitCode.FAILED and not self.signal and failed:
            # In a sandbox, which alone can be kept and looked into, whatever the settings say.
            cell = [] if self.cell == "sandbox" else ["--cell", "sandbox"]
            again = shlex.join(["hermit", "build", *self._mode(self.mode), *cell, "--keep", *place])
            return f"{again}    (then: hermit shell)"
        return None

    def again(self, mode: Mode) -> str:
        """Give the command line that does it again."""
        cell = [] if self.cell == "sandbox" else ["--cell", self.cell]
        return shlex.join(["hermit", "build", *self._mode(mode), *cell, *self.command])

    @staticmethod
    def _mode(mode: Mode) -> list[str]:
        return ["--mode", mode.value]

    def say_ending(self) -> None:
        """Say which step failed, what it said last where nobody has seen it, and what became of the artifacts."""
        last = self.steps[-1] if self.steps else None
        if self.signal:
            where = f" in step {last.number} of {self.planned}" if last else ""
            say(f"  interrupted by {self.signal}{where}")
        elif last and last.exceeded:
            say_styled(f"  step {last.number} of {self.planned} was ended: {last.exceeded}", "bad")
        elif last and last.status:
            how = status_as_text(last.status)
            say_styled(f"  step {last.number} of {self.planned} ended with {how}: {last.title}", "bad")
        if self.kept is not None:
            say(f"  what the {'build' if self.failure else 'failed step'} left is kept: {bytes_as_text(self.kept)}")
        self._say_artifacts()
        if self.steps_log and self.exit_code is not ExitCode.DONE:
            say_styled(f"  output: {self.steps_log}", "dim")

    def _say_artifacts(self) -> None:
        if not self.artifacts:
            if self.artifacts is not None:
                say("  no artifacts: the spec names none")
            return
        say(f"  {counted(len(self.artifacts), 'artifact')} in {self.out}")
        widest = max(len(bytes_as_text(kept.size)) for kept in self.artifacts)
        for kept in self.artifacts[:_SHOWN]:
            say(f"    sha256:{kept.sha256[:_HEX]}  {bytes_as_text(kept.size):>{widest}}  {kept.path}")
        if len(self.artifacts) > _SHOWN:
            say(f"    … and {len(self.artifacts) - _SHOWN} more, see SHA256SUMS there")
        if self.comparison:
            say_comparison(self.comparison)
            if self.was and self.out:
                now = self.out / self.comparison.differing[0]
                say(f"    how: {shlex.join(['diffoscope', str(self.was), str(now)])}")


def say_beginning(mode: str, source: Source, plan: Plan) -> None:
    """Tell what is built, and what of it a reader should know."""
    what = [f"hermit {mode}: {source.top.name}"]
    if source.head:
        branch = f" ({source.head.branch})" if source.head.branch else ""
        what.append(f" at {source.head.commit[:12]}{branch}")
        what.append(f" with uncommitted changes ({source.changes})" if source.changes else "")
    elif source.repository is None:
        what.append(", not in git")
    else:
        what.append(", nothing committed yet")
    say("".join([*what, f"; {counted(len(plan.steps), 'step')} in {plan.image}"]))
    for note in (*source.notes, *unfetched(source, plan)):
        say_styled(f"  {note}", "warn")


def say_step(done: StepDone) -> None:
    """Tell how a step went, below its output."""
    fetched = done.counts
    told = [f"{'done' if not done.status else 'failed'} in {time_as_text(done.seconds)}"]
    told += told_of_counts(fetched)
    told += [bytes_as_text(fetched["bytes"])] if fetched.get("bytes") else []
    told += [f"{bytes_as_text(done.dropped)} of output dropped (limits.output)"] if done.dropped else []
    say_styled(f"  {', '.join(told)}", "dim" if not done.status else "bad")


def _artifact(kept: Artifact) -> dict[str, Any]:
    return {"path": kept.path, "size": kept.size, "sha256": kept.sha256, "executable": kept.executable}

"""Turns a spec into the commands that it means: the same bytes wherever it is done, and nothing is looked up."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath, PurePosixPath

from hermit_proxy.closedyaml.file import excerpt
from hermit_proxy.errors import UsageError
from hermit_steps import commands
from hermit_steps.spec import (
    HERE,
    NOTHING_WANTED,
    Action,
    Apt,
    Network,
    Pack,
    Run,
    Spec,
    Step,
    Unpack,
    User,
    Wanted,
    default_name,
)  # fmt: skip

BUILD = PurePosixPath("/build")
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 64
_WIDTH = 72
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Facts:
    """Is what the source says of itself; `epoch` is the commit's time in seconds since 1970.

    `project` is the name of the source's top folder, `below` the project's place in it where it is part of more. The
    mode is not among them: a recording and its replay are one plan.
    """

    project: str
    epoch: int
    commit: str = ""
    branch: str = ""
    repo_url: str = ""
    below: PurePath = HERE


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """Is one command of a build.

    `number` counts from 1, `name` is unique and `title` says to people what is done. `environment` comes on top of
    what every build sees, and never contains what Hermit sets. `seconds` None leaves the whole build's time.
    """

    number: int
    name: str
    title: str
    network: Network
    user: User
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: PurePosixPath
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Is all that a build does, in its order.

    `image` is a stock image's name, or the path of a recipe relative to the project. The source lies at `top` in the
    cell and the project at `folder`; `artifacts` are patterns below that.
    """

    image: str
    top: PurePosixPath
    folder: PurePosixPath
    facts: Facts
    steps: tuple[PlannedStep, ...]
    artifacts: tuple[str, ...] = ()
    limits: Wanted = NOTHING_WANTED

    def upto(self, step: str) -> Plan:
        """Give the plan that stops after a step, told by number or name; raise UsageError where there is none.

        What a build is at a step depends on all before it, so none of them can be left out. Artifacts are those of
        a whole build.
        """
        last = next((found.number for found in self.steps if step in {str(found.number), found.name}), None)
        if last is None:
            known = ", ".join(f"{found.number} ({found.name})" for found in self.steps[:_SHOWN])
            more = ", …" if len(self.steps) > _SHOWN else ""
            raise UsageError(f"there is no step {excerpt(step)}", hint=f"the steps are {known}{more}")
        if last == len(self.steps):
            return self
        return replace(self, steps=self.steps[:last], artifacts=())

    def to_json(self) -> bytes:
        """Give the plan as stable bytes, its identity."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, default=str).encode() + b"\n"


def plan(spec: Spec, facts: Facts) -> Plan:
    """Give the commands that a spec means for a source."""
    top = BUILD / folder_name(facts.project)
    folder = top / facts.below
    first_apt = next((step for step in spec.steps if isinstance(step.action, Apt)), None)
    steps = tuple(
        PlannedStep(
            number=number,
            name=step.name,
            title=step.name if step.name != default_name(number) else title(step.action),
            network=step.network,
            user=step.user,
            argv=commands.argv(step.action, epoch=facts.epoch, update=step is first_apt),
            environment=_environment(spec, step),
            folder=folder / step.folder,
            seconds=step.seconds,
        )
        for number, step in enumerate(spec.steps, start=1)
    )
    return Plan(spec.image, top, folder, facts, steps, spec.artifacts, spec.limits)


def folder_name(name: str) -> str:
    """Give a project's folder in the cell: its name, with `-` for all but letters, digits, `.`, `_` and `-`."""
    found = _FOREIGN.sub("-", name)[:_LONGEST]
    return found if found.strip(".") else "project"


def title(action: Action) -> str:
    """Say in one line what an action does."""
    match action:
        case Run(script):
            lines = [line.strip() for line in script.splitlines()]
            first = next((line for line in lines if line and not line.startswith("#")), "run")
            return _line(first + (" …" if sum(map(bool, lines)) > 1 else ""))
        case Apt(packages):
            return _line(f"apt: {' '.join(packages)}")
        case Pack(source, target):
            return _line(f"pack {source} into {target}")
        case Unpack(source, target):
            return _line(f"unpack {source} into {target}")


def _line(text: str) -> str:
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= _WIDTH else shown[: _WIDTH - 1] + "…"


def _environment(spec: Spec, step: Step) -> dict[str, str]:
    """Give what a step gets beside what every build sees; archives depend on nothing that a spec can set."""
    match step.action:
        case Run():
            return {**spec.environment, **step.environment}
        case Apt():
            return {**spec.environment, **step.environment, **commands.APT_ENVIRONMENT}
        case _:
            return {}

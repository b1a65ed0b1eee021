"""Is the step that turns a project's spec into the steps of the build: the same plan as `hermit build` makes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from buildbot.config.errors import error as config_error
from buildbot.interfaces import IRenderable
from buildbot.process.results import SUCCESS

from hermit_proxy.errors import HermitError
from hermit_steps.buildbot.base import CellStep
from hermit_steps.buildbot.commandstep import CommandStep
from hermit_steps.buildbot.ending import Ending
from hermit_steps.buildbot.place import Commit, Place
from hermit_steps.finding import find_spec
from hermit_steps.plan import Facts, Plan, plan

_MODES = ("record", "hermetic")


class RunSpec(CellStep):
    """Opens the cell that a spec asks for, and adds one step for each of the spec's and one that ends the build."""

    name = "prepare"
    description = ["preparing the cell"]
    renderables = ["mode"]

    def __init__(self, mode: Any, **kwargs: Any) -> None:
        """Take the mode, `record` or `hermetic`; it may be renderable."""
        if mode not in _MODES and not IRenderable.providedBy(mode):
            config_error(f"RunSpec: mode is {' or '.join(_MODES)}, not {mode!r}")
        self.mode = mode
        super().__init__(**kwargs)

    async def work(self, place: Place) -> int:
        """Read the spec, open the cell, and say what comes."""
        if place.commit is None:
            raise HermitError("there is no source yet", hint="a Checkout step comes before this one")
        found = await self.wait(asyncio.to_thread(_thd_plan, place.commit))
        wanted = {name: value for name, value in asdict(found.limits).items() if value is not None}
        await self.wait(place.open(self.mode, found.image, found.top, wanted, self.say))
        steps = [CommandStep(step=step) for step in found.steps]
        self.of.addStepsAfterCurrentStep([*steps, Ending(mode=self.mode, plan=found)])
        self.descriptionDone = [f"{self.mode} in {found.image}"]
        return int(SUCCESS)


def _thd_plan(commit: Commit) -> Plan:
    facts = Facts(commit.name, commit.epoch, commit.commit, commit.branch, commit.url, commit.below)
    return plan(find_spec(commit.project), facts)

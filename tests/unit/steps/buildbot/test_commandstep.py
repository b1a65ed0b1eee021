"""Makes Buildbot's steps of planned ones."""

from __future__ import annotations

from pathlib import PurePosixPath

from hermit_steps.buildbot.commandstep import CommandStep
from hermit_steps.plan import PlannedStep


def planned(name: str) -> PlannedStep:
    return PlannedStep(1, name, "make all", "none", "build", ("make",), {}, PurePosixPath("/build/p"))


def test_a_step_has_the_plans_name_as_far_as_the_database_has_room_and_its_title() -> None:
    step = CommandStep(planned("tests"))
    assert (step.name, step.description) == ("tests", ["make all"])
    assert CommandStep(planned("x" * 64)).name == "x" * 45


def test_a_step_that_does_not_run_has_nothing_to_be_stopped() -> None:
    CommandStep(planned("tests")).leave()

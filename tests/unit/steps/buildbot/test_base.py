"""Judges errors of steps: whose doing they are, and whether there is another try."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from buildbot.process.buildstep import create_step_from_step_or_factory
from buildbot.process.results import CANCELLED, EXCEPTION, FAILURE, RETRY
from twisted.internet.defer import Deferred, succeed

from hermit_proxy.errors import HermitError, NotHermeticError, UsageError
from hermit_steps.buildbot.base import CellStep


class Said:
    """Is a log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def addHeader(self, text: str) -> Deferred[None]:  # noqa: N802  Buildbot's name
        self.lines.append(text)
        return succeed(None)


class StoppedAtOnce(CellStep):
    """Is a step that is stopped while its log is made."""

    def addLog(self, *_args: Any, **_kwargs: Any) -> Deferred[Said]:  # noqa: N802  Buildbot's name
        self.stopped = True
        return succeed(Said())

    async def work(self, place: Any) -> int:
        raise AssertionError(f"it works at {place}")


def judged(error: HermitError, remote: Any) -> tuple[int, str]:
    step: Any = create_step_from_step_or_factory(CellStep())
    step.stdio, step.remote = said, _ = Said(), remote
    return asyncio.run(step._failed(error)), "".join(said.lines)


@pytest.mark.parametrize(
    ("error", "last", "result"),
    [
        (UsageError("a mistake"), False, FAILURE),
        (NotHermeticError("a body is missing"), True, FAILURE),
        (HermitError("no cell"), False, RETRY),
        (HermitError("no cell"), True, EXCEPTION),
    ],
)
def test_a_failure_of_the_machine_is_tried_once_more_and_every_other_is_the_builds(
    error: HermitError, last: bool, result: int
) -> None:
    assert judged(error, SimpleNamespace(last=last))[0] == result


def test_what_went_wrong_and_what_mends_it_are_in_the_log() -> None:
    _, said = judged(HermitError("no cell", hint="hermit doctor"), SimpleNamespace(last=True))
    assert said.startswith("hermit: no cell\n  next: hermit doctor\n")


def test_on_a_worker_that_counts_no_tries_there_is_no_other_one() -> None:
    assert judged(HermitError("no cell"), SimpleNamespace())[0] == EXCEPTION


def test_a_step_that_is_stopped_before_it_works_does_not_work() -> None:
    step: Any = create_step_from_step_or_factory(StoppedAtOnce())
    step.remote = SimpleNamespace(workplace=SimpleNamespace())
    assert asyncio.run(step.run()) == CANCELLED

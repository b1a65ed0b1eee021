"""Is what Hermit's steps have in common: they wait for the cell, tell what went wrong, and know who is to blame."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from buildbot.process.build import Build
from buildbot.process.buildstep import BuildStep
from buildbot.process.results import CANCELLED, EXCEPTION, FAILURE, RETRY
from twisted.internet.defer import Deferred
from twisted.python import log as twisted_log

from hermit_proxy.bridge import deferred
from hermit_proxy.errors import ExitCode, HermitError
from hermit_steps.buildbot.place import Place, place_of

T = TypeVar("T")


class _Cancelled(Exception):  # noqa: N818  nothing went wrong
    """Is raised in a step that was stopped."""


class CellStep(BuildStep):
    """Is a step that works through the place of its build.

    A failure of the machine (`HermitError` with exit code 4) has the build tried once more, and is an exception the
    second time; every other one is the build's.
    """

    haltOnFailure = True
    flunkOnFailure = True
    stdio: Any
    _waiting: Deferred[Any] | None = None

    @property
    def of(self) -> Build:
        """Give the build that it is a step of."""
        assert self.build is not None  # noqa: S101  for mypy: a step that runs has one
        return self.build

    async def run(self) -> int:  # type: ignore[override]  # Buildbot takes a coroutine as well
        """Do the work; give Buildbot's result of it."""
        self.stdio = await self.addLog("stdio")
        if self.stopped:  # before it or meanwhile: there is nothing to interrupt yet
            return int(CANCELLED)
        try:
            return await self.work(place_of(self.remote))
        except _Cancelled:
            return int(CANCELLED)
        except HermitError as error:
            return await self._failed(error)

    async def work(self, place: Place) -> int:
        """Do what the step is for; raise HermitError."""
        raise NotImplementedError

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for asyncio's work; stopping the step cancels it."""
        self._waiting = waiting = deferred(work)
        try:
            return await waiting
        except asyncio.CancelledError as error:
            raise _Cancelled from error
        finally:
            self._waiting = None

    def say(self, line: str) -> None:
        """Put a line of Hermit's own into the log."""
        unwatched(self.stdio.addHeader(f"{line}\n"))

    def interrupt(self, reason: Any) -> Deferred[None]:
        """Stop the step, as a person or a lost worker asks for."""
        stopping: Deferred[None] = super().interrupt(reason)
        self.leave()
        return stopping

    def leave(self) -> None:
        """Have the work end early."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _failed(self, error: HermitError) -> int:
        self.say(f"hermit: {error}")
        if error.hint:
            self.say(f"  next: {error.hint}")
        self.descriptionDone = [str(error).partition("\n")[0]]
        if error.exit_code is not ExitCode.MACHINE:
            return int(FAILURE)
        if getattr(self.remote, "last", True):
            self.say("hermit: this machine failed, and not for the first time: the build is given up")
            return int(EXCEPTION)
        self.say("hermit: this machine failed: the build is tried once more")
        return int(RETRY)


def unwatched(work: Deferred[Any]) -> None:
    """Let work end while nobody waits for it; what goes wrong is in the master's log."""
    work.addErrback(lambda failure: twisted_log.err(failure, "in a step of Hermit's"))

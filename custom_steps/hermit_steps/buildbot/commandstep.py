"""Is one step of a spec as Buildbot shows it: its output while it runs, and how it ended."""

from __future__ import annotations

import codecs
import signal
from typing import Any

from buildbot.process.results import CANCELLED, FAILURE, SUCCESS

from hermit_proxy.bridge import deferred, future
from hermit_steps.buildbot.base import CellStep, unwatched
from hermit_steps.buildbot.place import Place
from hermit_steps.plan import PlannedStep

_GRACE = 10.0
_LONGEST = 45  # of the 50 that Buildbot's database has for a name; it may add a number


class CommandStep(CellStep):
    """Runs one command of a plan in the build's cell. RunSpec adds these; they are of no use by themselves."""

    def __init__(self, step: PlannedStep, **kwargs: Any) -> None:
        """Take the planned step."""
        self.step = step
        self._place: Place | None = None
        super().__init__(name=step.name[:_LONGEST], description=[step.title], **kwargs)

    async def work(self, place: Place) -> int:
        """Run it to its end."""
        step, self._place = self.step, place
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        async def give(octets: bytes) -> None:
            """Put it into the log; the step waits at a full pipe meanwhile."""
            await future(self.stdio.addStdout(decoder.decode(octets)))

        self.say(step.title + ("" if step.network == "proxy" else "  (no network)"))
        try:
            done = await self.wait(place.run(step, give))
        finally:
            self._place = None
        await self.stdio.addStdout(decoder.decode(b"", final=True))
        if done.dropped:
            self.say(f"hermit: {done.dropped} more bytes were dropped")
        if self.stopped:
            return int(CANCELLED)
        if not done.status:
            return int(SUCCESS)
        how = done.exceeded or f"status {done.status}"
        self.say(f"hermit: the step ended with {how}")
        self.descriptionDone = [f"{step.title}: {how}"]
        return int(FAILURE)

    def leave(self) -> None:
        """Let the step end in its own way; where it does not, end all that runs in the cell."""
        place = self._place
        if place is None:
            return
        unwatched(deferred(place.interrupt(signal.SIGTERM)))
        assert self.master is not None  # noqa: S101  for mypy: a step that runs has one
        self.master.reactor.callLater(_GRACE, self._give_up, place)

    def _give_up(self, place: Place) -> None:
        if self._place is place:
            unwatched(deferred(place.give_up()))

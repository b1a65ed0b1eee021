"""Is the last step of a build: it takes the artifacts, tells what was asked for, and keeps a good recording."""

from __future__ import annotations

from typing import Any

from buildbot.process.results import FAILURE, SKIPPED, SUCCESS, WARNINGS

from hermit_proxy.run.troubles import Trouble
from hermit_steps.buildbot.base import CellStep
from hermit_steps.buildbot.place import Network, Place
from hermit_steps.plan import Plan

_SHOWN = 50


class Ending(CellStep):
    """Ends a build that came to steps, however they ended. RunSpec adds it.

    What a build needs and did not get fails it, whether or not its steps got over that. Of a build that went well the
    properties `hermit_kept` (a folder: `artifacts`, `snapshot`, the log of requests) and `hermit_changed` (whether the
    snapshot has) are for the steps after it.
    """

    name = "ending"
    alwaysRun = True

    def __init__(self, mode: str, plan: Plan, **kwargs: Any) -> None:
        """Take the mode and the plan of the build."""
        self.mode = mode
        self.plan = plan
        super().__init__(description=["taking what stays"], **kwargs)

    async def work(self, place: Place) -> int:
        """Take what there is to be taken."""
        if self.of.results not in {SUCCESS, WARNINGS, FAILURE}:
            return int(SKIPPED)  # the cell or the proxy may be gone, or a person wants it to end
        good = self.of.results != FAILURE
        if good:
            await self._take(place)
        network = await self.wait(place.finish())
        self._tell(network)
        self.setProperty("hermit_kept", str(place.folder), "Ending")
        if network.counts.broken:
            self.descriptionDone = [f"not hermetic: {network.counts.refused} refused, {network.counts.failed} failed"]
            return int(FAILURE)
        if good and self.mode == "record":
            await self._record(place)
        self.descriptionDone = [f"{network.counts.requests} requests"]
        return int(SUCCESS)

    async def _take(self, place: Place) -> None:
        taken = await self.wait(place.take(self.plan.folder, self.plan.artifacts))
        for artifact in taken:
            self.say(f"sha256:{artifact.sha256}  {artifact.size:>12}  {artifact.path}")

    async def _record(self, place: Place) -> None:
        recorded = await self.wait(place.record())
        changed = recorded is not None and recorded.changed
        self.setProperty("hermit_changed", changed, "Ending")
        if recorded is None:
            self.say("nothing was recorded, so no snapshot was written")
        else:
            self.say(recorded.text if changed else "the snapshot is unchanged")

    def _tell(self, network: Network) -> None:
        counts = network.counts
        self.say(f"{counts.requests} requests, {counts.replayed} replayed, {counts.recorded} recorded")
        for trouble in network.troubles[:_SHOWN]:
            self.say(_told(trouble))
        if len(network.troubles) > _SHOWN:
            self.say(f"and {len(network.troubles) - _SHOWN} more kinds of requests: see the log of requests")


def _told(trouble: Trouble) -> str:
    times = f" ({trouble.times} times)" if trouble.times > 1 else ""
    lines = [f"{trouble.outcome.value}: {trouble.method} {trouble.url}{times}", f"  {trouble.reason}"]
    return "\n".join([*lines, *(f"  {line}" for line in (trouble.hint or "").splitlines())])

"""Is the step that brings the source: the master has it, and the cell sees no credential of a forge."""

from __future__ import annotations

from typing import Any

from buildbot.process.properties import Property
from buildbot.process.results import SUCCESS

from hermit_steps.buildbot.base import CellStep
from hermit_steps.buildbot.place import Place

# What Buildbot sets where a build has one source.
_REPOSITORY, _REVISION, _BRANCH = Property("repository"), Property("revision"), Property("branch")


class Checkout(CellStep):
    """Brings one commit; it goes into the cell when that is opened."""

    name = "checkout"
    description = ["bringing the source"]
    renderables = ["repository", "revision", "branch"]

    def __init__(
        self,
        repository: Any = _REPOSITORY,
        revision: Any = _REVISION,
        branch: Any = _BRANCH,
        **kwargs: Any,
    ) -> None:
        """Take what may be renderable: an address, a commit (None: the branch's last), a branch (None: HEAD)."""
        self.repository = repository
        self.revision = revision
        self.branch = branch
        super().__init__(**kwargs)

    async def work(self, place: Place) -> int:
        """Bring it, and tell what it is."""
        found = await self.wait(place.bring(self.repository or "", self.revision or "", self.branch or ""))
        self.setProperty("got_revision", found.commit, "Checkout")
        self.say(f"{found.name} at {found.commit}" + (f" ({found.branch})" if found.branch else ""))
        for note in found.notes:
            self.say(f"  {note}")
        self.descriptionDone = [f"{found.name} at {found.commit[:12]}"]
        return int(SUCCESS)

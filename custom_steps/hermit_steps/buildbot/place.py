"""Says what Hermit's steps need of the place that a build runs in, so that they know no worker and no cell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Protocol

from hermit_proxy.errors import UsageError
from hermit_proxy.run.session import Counts
from hermit_proxy.run.troubles import Trouble
from hermit_proxy.snapshot.written import Recorded
from hermit_steps.plan import PlannedStep


class Commit(Protocol):
    """Is the source that was brought."""

    project: Path
    name: str
    commit: str
    branch: str
    epoch: int
    url: str
    below: PurePath
    notes: tuple[str, ...]


class Done(Protocol):
    """Is how a step ended."""

    status: int
    exceeded: str | None
    dropped: int


class Network(Protocol):
    """Is what a build asked for."""

    counts: Counts
    troubles: tuple[Trouble, ...]


class Artifact(Protocol):
    """Is one file that left the build; its size is in bytes, its digest in hex."""

    path: str
    size: int
    sha256: str


class Place(Protocol):
    """Is the workplace of one build (hermit_workers.buildbot.workplace); all of it runs in asyncio."""

    folder: Path
    commit: Commit | None

    async def bring(self, repository: str, commit: str, branch: str) -> Commit:
        """Get a commit onto this machine."""

    async def open(
        self, mode: str, image: str, top: PurePosixPath, wanted: Mapping[str, float], say: Callable[[str], None]
    ) -> None:
        """Start proxy and cell, with the source in."""

    async def run(self, step: PlannedStep, give: Callable[[bytes], Awaitable[object]]) -> Done:
        """Run a step."""

    async def interrupt(self, number: int) -> None:
        """Send a signal to the step that runs."""

    async def give_up(self) -> None:
        """End whatever runs."""

    async def take(self, folder: PurePosixPath, patterns: Sequence[str]) -> Sequence[Artifact]:
        """Take the artifacts out."""

    async def finish(self) -> Network:
        """End what runs, and tell what was asked for."""

    async def record(self) -> Recorded | None:
        """Keep the snapshot of a recording."""


def place_of(connection: Any) -> Place:
    """Give the place of the build that a step belongs to; raise UsageError where the worker is none of Hermit's."""
    place: Place | None = getattr(connection, "workplace", None)
    if place is None:
        raise UsageError("this step runs on a HermitLatentWorker alone", hint="give the builder such workers only")
    return place

"""Brings together what the commands about snapshot, rules and store work on: project, user's settings, store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermit_cli.project import Project, find_project
from hermit_cli.runs import find_log, results
from hermit_proxy.errors import UsageError
from hermit_proxy.run.events import RequestEvent, read_log
from hermit_proxy.settings import Settings, load_settings
from hermit_proxy.store.body import Store
from hermit_proxy.store.open import open_store


@dataclass(frozen=True, slots=True)
class Place:
    """Is where a command works: the project, the snapshot's folder in it or elsewhere, and the user's settings."""

    project: Project
    network: Path
    settings: Settings

    @property
    def pool(self) -> str:
        """Name the pool whose observations count here."""
        return self.settings.pool or self.project.pool()

    def has_run(self, snapshot: Path) -> bool:
        """Tell whether a run with this snapshot was one of this project, and of none that lies inside it."""
        root = self.project.root
        inside = snapshot.is_relative_to(root) and ".hermit" not in snapshot.relative_to(root).parts[1:]
        return inside or snapshot == self.network.resolve()

    def told_of_no_entry(self) -> tuple[str, str]:
        """Say in two lines why the snapshot has no entry, and what comes next."""
        if self.network == self.project.network and self.project.is_recorded:
            return (
                f"{self.network}: the build that was recorded asked for nothing",
                "next: hermit build --mode hermetic",
            )
        return f"{self.network}: nothing is recorded yet", "next: hermit build, or hermit run --mode record -- COMMAND"

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Open the user's store and close it again; raise HermitError where it is not there."""
        store = open_store(self.settings.store, environ=os.environ)
        try:
            yield store
        finally:
            store.close()


def find_place(snapshot: Path | None = None) -> Place:
    """Find the project around the working folder; `snapshot` is the folder of another snapshot.

    Raise UsageError where that folder is not there: a snapshot that somebody names is no empty one.
    """
    project = find_project(Path.cwd())
    network = project.network
    if snapshot is not None:
        network = snapshot.absolute()
        if not network.is_dir():
            raise UsageError(f"there is no snapshot at {snapshot}", hint="the folder is .hermit/network in a project")
    return Place(project, network, load_settings(None, os.environ))


def read_run(name: str | None, place: Place) -> tuple[Path, list[RequestEvent]]:
    """Read the log that a person names, else that of the project's last run; raise UsageError where there is none."""
    log = _last_log(place) if name in {None, "last"} else find_log(str(name), os.environ)
    try:
        return log, list(read_log(log))
    except OSError as error:
        raise UsageError(f"the log {log} cannot be read: {error.strerror}") from error


def _last_log(place: Place) -> Path:
    """Find the log of the last run in this project, however it ended; another project's log says nothing here."""
    others = []
    for log, fields in results(os.environ):
        if place.has_run(Path(str(fields.get("snapshot")))):
            return log
        others.append(log.parent.name)
    hint = f"hermit run -- COMMAND, or name a log: --log {others[0]}" if others else "hermit run -- COMMAND"
    raise UsageError(f"no run of the project {place.project.root} is remembered", hint=hint)


def network_in(folder: Path) -> Path:
    """Give the snapshot's folder that a person means by a folder: that itself, or the one in a project."""
    for inner in (folder / ".hermit" / "network", folder / "network"):
        if inner.is_dir():
            return inner
    return folder

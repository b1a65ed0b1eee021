"""Is the worker that a Buildbot master has for Hermit's builds: each build gets a cell of its own, and nobody else."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from buildbot.config.errors import error as config_error
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.util.twisted import async_to_deferred
from buildbot.worker.latent import AbstractLatentWorker

from hermit_proxy.bridge import deferred
from hermit_proxy.errors import HermitError
from hermit_proxy.settings import Settings, load_settings
from hermit_workers.buildbot.connection import CellConnection
from hermit_workers.buildbot.workplace import STAYS, Site, Workplace
from hermit_workers.making import check_cell
from hermit_workers.runfolders import RunFolders

# How often a build is tried where it is the machine that fails; Buildbot itself would try for ever.
MOST_TRIES = 2
_KEPT = 100
_OURS = ("password", "build_wait_timeout", "max_builds")


class HermitLatentWorker(AbstractLatentWorker):
    """Is one place for builds: as many run at once as there are such workers.

    States (Buildbot's): not substantiated -> substantiating -> substantiated -> insubstantiating -> not substantiated.
    With the first a build gets its folder; proxy and cell come up when its steps know what they need, and with the
    last everything is gone but artifacts, snapshot and the log of requests.
    """

    def checkConfig(  # type: ignore[override]  # a cell has no password
        self,
        name: str,
        *,
        cell: str = "sandbox",
        settings: str | None = None,
        folder: str = "hermit",  # noqa: ARG002  any will do
        **kwargs: Any,
    ) -> None:
        """Refuse what makes no worker.

        `cell` is `sandbox` or `vm`, `settings` a file of settings in place of the master's user's own
        (docs/build.md), `folder` where builds are kept, relative to the master's.
        """
        for key in _OURS:
            if key in kwargs:
                config_error(f"worker {name}: {key} is no setting of a HermitLatentWorker, which builds once per cell")
        for check in (lambda: check_cell(cell), lambda: _read(settings)):
            try:
                check()
            except HermitError as error:
                config_error(f"worker {name}: {error}" + (f" (next: {error.hint})" if error.hint else ""))
        super().checkConfig(name, None, build_wait_timeout=0, max_builds=1, **_without(kwargs))

    @async_to_deferred
    async def reconfigService(  # type: ignore[override]  # see above
        self, name: str, *, cell: str = "sandbox", settings: str | None = None, folder: str = "hermit", **kwargs: Any
    ) -> None:
        """Take the settings, and remove what a master left that was killed."""
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            told = "cells and proxies need asyncio's event loop: start the master with `twistd --reactor=asyncio`"
            raise HermitError(told) from error
        folders = RunFolders(Path(self.master.basedir, folder, "builds"), STAYS)
        self._site = Site(folders, cell, _read(settings), dict(os.environ))
        await deferred(asyncio.to_thread(folders.sweep, _KEPT))
        await super().reconfigService(name, None, build_wait_timeout=0, max_builds=1, **_without(kwargs))

    @async_to_deferred
    async def start_instance(self, build: Any) -> bool:
        """Make the build's folder and let its steps begin; where this fails it is tried once more."""
        found = await self.master.data.get(("buildrequests", build.requests[0].id, "builds"))
        tries = len(found)
        if tries > MOST_TRIES:
            told = f"this was tried {MOST_TRIES} times, and neither came to its end; force it to try again"
            raise LatentWorkerCannotSubstantiate(self.name, told)
        try:
            await deferred(asyncio.to_thread(self._site.folders.sweep, _KEPT))
            workplace = Workplace(self._site)
        except OSError as error:
            kind = LatentWorkerFailedToSubstantiate if tries < MOST_TRIES else LatentWorkerCannotSubstantiate
            raise kind(self.name, f"a build's folder cannot be made: {error}") from error
        connection = CellConnection(str(self.name), workplace, last=tries >= MOST_TRIES)
        self._connection = connection
        await self.master.workers.newConnection(connection, self.name)
        await self.attached(connection)
        return True

    @async_to_deferred
    async def stop_instance(self, fast: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002  Buildbot's
        """Leave nothing of the build's but what is kept; doing it twice is safe."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await deferred(connection.workplace.close())
        return True

    _connection: CellConnection | None = None
    _site: Site


def _read(settings: str | None) -> Settings:
    return load_settings(Path(settings) if settings else None, os.environ)


def _without(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key not in _OURS}

"""Runs a command in a real cell without a proxy: what the cell alone does or refuses."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.run.ca import RunCA
from hermit_workers.command.runtime import Cell
from hermit_workers.command.view import Hidden, Trust, prepare
from hermit_workers.environment import Wire
from hermit_workers.trust import system_bundle


@dataclass(frozen=True, slots=True)
class Done:
    """Is how a command in a cell ended."""

    status: int
    stdout: str


def run_in_cell(
    *command: str,
    rundir: Path,
    folder: Path | None = None,
    user: Mapping[str, str] | None = None,
    hidden: tuple[Path, ...] = (),
    secrets: tuple[Path, ...] = (),
) -> Done:
    """Run a command to its end; its stderr is the test's own."""
    rundir.mkdir(parents=True)
    authority = RunCA.create()
    trust = Trust(authority.cert_pem, authority.bundle(system_bundle()), authority.jks())
    environment = os.environ if user is None else user
    parts = prepare(
        rundir, folder or Path.cwd(), environ(environment), Wire(), trust, Hidden((rundir, *hidden), secrets)
    )

    async def run() -> Done:
        with tempfile.TemporaryFile() as stdout:
            cell = Cell.start(parts[0], command, parts[1], stdout=stdout)
            try:
                (await asyncio.wait_for(cell.listener(), 30)).close()
                cell.go()
                status = await asyncio.wait_for(cell.wait(), 60)
            finally:
                await cell.destroy()
            stdout.seek(0)
            return Done(status, stdout.read().decode())

    return asyncio.run(run())


def environ(user: Mapping[str, str]) -> dict[str, str]:
    """Give an environment with a search path."""
    return {"PATH": os.environ["PATH"], **user}

"""Is the proxy and the cell of one build while they are up: steps run there, and what they made is taken out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from hermit_proxy.policy import Mode
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.session import Counts
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.store.open import open_store
from hermit_workers import artifacts
from hermit_workers.artifacts import Artifact
from hermit_workers.buildbot.output import Give, Output
from hermit_workers.buildview import Facts, build_environment
from hermit_workers.cell import Cell, Command, Limits, User
from hermit_workers.environment import Wire
from hermit_workers.stepping import run_step
from hermit_workers.waiting import to_the_end


class Planned(Protocol):
    """Is one command of a plan, as a spec's steps have it."""

    @property
    def name(self) -> str:
        """Name it, unlike any other of the build."""

    @property
    def network(self) -> Literal["none", "proxy"]:
        """Say whether it has the proxy."""

    @property
    def user(self) -> User:
        """Say whose command it is."""

    @property
    def argv(self) -> tuple[str, ...]:
        """Give the program and its arguments."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Give what comes on top of what every build sees."""

    @property
    def folder(self) -> PurePosixPath:
        """Say where it runs."""

    @property
    def seconds(self) -> float | None:
        """Give its time, None for the whole build's."""


@dataclass(frozen=True, slots=True)
class Done:
    """Is how a step ended: as `cell.Ended` has it, and how many bytes of its output were dropped."""

    status: int
    exceeded: str | None
    dropped: int


@dataclass(frozen=True, slots=True)
class Running:
    """Is a build's proxy and cell, both started, with the source in.

    `facts` are what steps are told of the source; `environ` is the master's own, for the store.
    """

    cell: Cell
    proxy: ProxyProcess
    settings: ProxySettings
    mode: Mode
    limits: Limits
    facts: Facts
    environ: Mapping[str, str]

    async def run(self, step: Planned, give: Give) -> Done:
        """Run a step to its end; `give` gets its output.

        Raise CellError where it could not be run, ProxyDiedError where the proxy is gone.
        """
        wire = Wire(hermetic=self.mode is Mode.HERMETIC)
        seen = build_environment(self.facts, wire, step.user)
        command = Command(step.argv, {**seen, **step.environment}, step.folder, step.user)
        output = Output(self.limits.output, give)
        try:
            await self.proxy.begin_step(step.name, step.network)
            ended = await run_step(self.cell, command, self.proxy, step.seconds, output.descriptor)
            await output.end()
            await self.proxy.end_step()
        finally:
            await output.close()
        return Done(ended.status or int(ended.exceeded is not None), ended.exceeded, output.dropped)

    async def take(self, folder: PurePosixPath, patterns: Sequence[str], out: Path) -> tuple[Artifact, ...]:
        """End the cell's processes and put its artifacts into the store and into `out`, sorted by path.

        Raise HermitError where there are none that match, where one is no plain file, or where the disk is full.
        """
        await self.cell.stop()
        if not patterns:
            return ()
        store = await asyncio.to_thread(open_store, self.settings.store, environ=self.environ)
        try:
            taken = await self.cell.take(folder, patterns)
            return await to_the_end(asyncio.to_thread(artifacts.keep, taken, store, out, self.facts.epoch))
        finally:
            store.close()

    async def finish(self) -> Counts:
        """End the cell's processes, and the proxy with its log written out; give the counts of all requests."""
        await self.cell.stop()
        return await self.proxy.finish()

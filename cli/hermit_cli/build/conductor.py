"""Conducts one build: image, proxy and cell, then step after step, and everything ends in reverse."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from hermit_cli import runs
from hermit_cli.attended import attended
from hermit_cli.build.kept import About
from hermit_cli.build.order import Built, Order
from hermit_cli.build.printing import Printing
from hermit_cli.build.report import StepDone, say_step
from hermit_cli.conduct import named
from hermit_cli.interrupts import Interrupts
from hermit_cli.output import ready, say, say_styled
from hermit_cli.progress import Progress
from hermit_proxy.errors import HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.control import Message
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.session import Counts
from hermit_proxy.run.spawning import Spawned
from hermit_proxy.store.open import open_store
from hermit_steps.plan import PlannedStep
from hermit_workers import artifacts
from hermit_workers.artifacts import Artifact
from hermit_workers.buildview import APT_DATES_OFF, Facts, build_environment
from hermit_workers.cell import Cell, Command
from hermit_workers.environment import Wire
from hermit_workers.image.library import Image, Library
from hermit_workers.image.making import ensure_image
from hermit_workers.making import make_cell, room_for
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.source.putting import put_own, put_source
from hermit_workers.stepping import run_step
from hermit_workers.waiting import both, to_the_end

_GRACE = 10.0


def conduct(order: Order, spawned: Spawned, interrupts: Interrupts) -> Built:
    """Run a build to its end with the proxy that waits for it; raise HermitError where it could not be run.

    What interrupts it is held from then on.
    """
    return asyncio.run(_Conductor(order, spawned, interrupts).run())


class _Conductor:
    """States: preparing -> in a step <-> between steps -> taking -> over; interrupts lead to over from everywhere."""

    def __init__(self, order: Order, spawned: Spawned, interrupts: Interrupts) -> None:
        self._order = order
        self._interrupts = interrupts
        self._spawned = spawned
        self._progress = Progress(order.mode.value, quiet=order.quiet)
        self._cell: Cell | None = None
        self._proxy: ProxyProcess | None = None
        self._task: asyncio.Task[Any] | None = None
        self._interrupted: str | None = None
        self._in_step = False
        self._steps: list[StepDone] = []
        self._counts = named(Counts())
        self._artifacts: tuple[Artifact, ...] | None = None
        self._image = self._source = self._last_lines = ""
        self._kept: int | None = None
        self._failure: HermitError | None = None
        self._asking: asyncio.Task[None] | None = None

    async def run(self) -> Built:
        self._task = asyncio.current_task()
        with attended(self._progress, self._interrupts, self._on_signal):
            try:
                await self._with_image()
            except asyncio.CancelledError:
                if self._interrupted is None:
                    raise
        return Built(
            steps=tuple(self._steps),
            planned=len(self._order.plan.steps),
            counts=self._counts,
            signal=self._interrupted,
            artifacts=self._artifacts,
            image=self._image,
            source=self._source,
            kept=self._kept,
            last_lines=self._last_lines,
            failure=self._failure,
        )

    async def _with_image(self) -> None:
        order = self._order
        tell = partial(self._tell, "image")
        image = await ensure_image(
            order.plan.image, order.project, order.mode, environ=order.environment, progress=tell
        )
        self._image = image.digest
        with Library.of(order.environment).use(image):
            authority = RunCA.create(order.proxy.clock, run=order.rundir.name)
            proxy = await ProxyProcess.start(
                order.mode,
                order.proxy,
                order.rundir,
                on_event=self._on_event,
                ca=authority,
                spawned=self._spawned,
            )
            self._proxy = proxy
            try:
                async with room_for(order.wish, partial(self._tell, "vm")):
                    await self._with_cell(image, proxy, authority)
                await proxy.finish()
            finally:
                self._counts = named(proxy.counts)
                await proxy.stop()

    async def _with_cell(self, image: Image, proxy: ProxyProcess, authority: RunCA) -> None:
        order = self._order
        self._cell = cell = await make_cell(order.wish, image, partial(self._tell, "vm"))
        stays = False
        try:
            wire = Wire(hermetic=order.mode is Mode.HERMETIC)
            # Not together with what follows: a proxy that cannot start may say so before there is a cell to end.
            with await cell.start() as listener:
                await both(self._put(cell, image, authority, wire), proxy.ready())
                proxy.listen(listener)
            await self._with_printing(cell, proxy, wire)
            await cell.stop()
            await self._take(cell)
            stays = self._leaves and isinstance(cell, SandboxCell) and await self._stays(cell)
        finally:
            await to_the_end(cell.destroy())
        if stays:
            await self._keep(image)
        else:
            await to_the_end(order.kept.remove())

    async def _put(self, cell: Cell, image: Image, authority: RunCA, wire: Wire) -> None:
        """Put everything in, while the proxy starts."""
        order = self._order
        self._progress.begin("putting the source in")
        await put_own(cell, image, authority, wire, order.source.epoch)
        self._source = await put_source(cell, order.source, order.plan.top, order.rundir)

    @property
    def _leaves(self) -> bool:
        return self._order.keep and (self._failure is not None or any(step.status for step in self._steps))

    async def _stays(self, cell: SandboxCell) -> bool:
        try:
            await cell.keep()
        except HermitError as error:
            _say_lost(error)
            return False
        return True

    async def _keep(self, image: Image) -> None:
        order = self._order
        try:
            self._kept = await to_the_end(order.kept.put(order.layer, self._about(image)))
        except HermitError as error:
            _say_lost(error)

    def _about(self, image: Image) -> About:
        order = self._order
        failed = order.plan.steps[len(self._steps) - 1]
        folder, when = str(failed.folder), runs.began(order.rundir)
        return About(str(order.project), image.digest, failed.title, failed.user, folder, when)

    async def _with_printing(self, cell: Cell, proxy: ProxyProcess, wire: Wire) -> None:
        order = self._order
        printing = Printing(order.rundir / runs.STEPS_NAME, limit=order.limits.output, quiet=order.quiet)
        try:
            if order.mode is Mode.HERMETIC:
                printing.note(f"hermit: {APT_DATES_OFF}")
            for step in order.plan.steps:
                if self._interrupted:
                    break
                done = await self._step(step, cell, proxy, printing, wire)
                self._steps.append(done)
                if not order.quiet:
                    say_step(done)
                self._last_lines = printing.last_lines
                if done.status:
                    break
        finally:
            printing.close()

    async def _step(
        self, step: PlannedStep, cell: Cell, proxy: ProxyProcess, printing: Printing, wire: Wire
    ) -> StepDone:
        place = f"[{step.number}/{len(self._order.plan.steps)}]"
        network = "" if step.network == "proxy" else "  (no network)"
        if not self._order.quiet:
            say_styled(f"{place} {step.title}{network}", "head")
        self._progress.begin(f"{place} {step.title}")
        facts = self._order.plan.facts
        seen = build_environment(Facts(facts.epoch, facts.repo_url, facts.commit, facts.branch), wire, step.user)
        command = Command(step.argv, {**seen, **step.environment}, step.folder, step.user)
        before = named(await proxy.status())
        printing.begin_step(f"{place} {step.title}{network}")
        began = time.monotonic()
        await proxy.begin_step(step.name, step.network)
        self._in_step = True
        try:
            ended = await run_step(cell, command, proxy, step.seconds, printing.descriptor)
            dropped = await printing.end_step()
        finally:
            self._in_step = False
        await proxy.end_step()
        after = named(await proxy.status())
        return StepDone(
            number=step.number,
            name=step.name,
            title=step.title,
            network=step.network,
            status=ended.status or int(ended.exceeded is not None),
            seconds=time.monotonic() - began,
            counts={name: after[name] - before[name] for name in after},
            exceeded=ended.exceeded,
            dropped=dropped,
        )

    async def _take(self, cell: Cell) -> None:
        order = self._order
        if any(step.status for step in self._steps) or self._interrupted or order.out is None:
            return
        self._progress.begin("taking the artifacts")
        if not order.plan.artifacts:
            self._artifacts = ()
            return
        try:
            self._artifacts = await self._taken(cell, order.out)
        except HermitError as error:  # the steps have run: that is told as how they went is
            self._failure = error

    async def _taken(self, cell: Cell, out: Path) -> tuple[Artifact, ...]:
        order = self._order
        store = open_store(order.proxy.store, environ=order.environment)
        try:
            taken = await cell.take(order.plan.folder, order.plan.artifacts)
            return await to_the_end(asyncio.to_thread(artifacts.keep, taken, store, out, order.plan.facts.epoch))
        finally:
            store.close()

    def _tell(self, what: str, line: str) -> None:
        self._progress.begin(line)
        if not self._order.quiet:
            say_styled(f"  {what}: {line}", "dim")

    def _on_event(self, message: Message) -> None:
        if message.get("event") in {"status", "finished"}:
            self._progress.update(Counts.from_dict(message))

    def _on_signal(self, number: int) -> None:
        """Ask the step to end as a terminal would; a second signal, or ten seconds, end the build."""
        again = self._interrupted is not None
        self._interrupted = signal.Signals(number).name
        if self._cell is None or not self._in_step or again:
            self._cancel()
            return
        _say("hermit: interrupted; the step may end in its own way (once more ends it now)")
        loop = asyncio.get_running_loop()
        self._asking = loop.create_task(self._cell.interrupt(number))
        loop.call_later(_GRACE, self._give_up)

    def _give_up(self) -> None:
        if self._in_step:
            _say("hermit: the step does not end; ending it")
            self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _say_lost(error: HermitError) -> None:
    """Say why there is nothing for a shell; how the build went is worth telling all the same."""
    say_styled(f"hermit: nothing is kept: {error}", "warn")


def _say(line: str) -> None:
    """Say a line where somebody reads; a terminal that was stopped must not keep a build from being ended."""
    if ready(sys.stderr):
        say(line)

"""Is where one build of a master's is done: its folder, proxy and cell, made on demand and gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from hermit_proxy.errors import HermitError, InputError, Mistake
from hermit_proxy.git import Leash
from hermit_proxy.policy import Mode
from hermit_proxy.recording import write_snapshot
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.events import read_log
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.session import LOG_NAME, Counts
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.run.spawning import spawn
from hermit_proxy.run.troubles import Trouble, troubles_of
from hermit_proxy.settings import Settings
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.recorded import FILE_NAME as RECORDED
from hermit_proxy.snapshot.recorded import read as read_recorded
from hermit_proxy.snapshot.tree import read_tree
from hermit_proxy.snapshot.written import Recorded
from hermit_proxy.store.poolname import pool_name
from hermit_workers.artifacts import Artifact
from hermit_workers.buildbot.output import Give
from hermit_workers.buildbot.running import Done, Planned, Running
from hermit_workers.buildview import APT_DATES_OFF, Facts
from hermit_workers.cell import Cell, Limits
from hermit_workers.environment import Wire
from hermit_workers.image.library import Image, Library
from hermit_workers.image.lock import FILE_NAME as IMAGE_LOCK
from hermit_workers.image.making import ensure_image
from hermit_workers.limits import held, usual
from hermit_workers.making import Say, Wish, make_cell, room_for
from hermit_workers.runfolders import RunFolders
from hermit_workers.source.checkout import FETCH_SECONDS, thd_check_out
from hermit_workers.source.putting import put_own, put_source
from hermit_workers.source.worktree import Source, find_source
from hermit_workers.waiting import both, to_the_end

ARTIFACTS, SNAPSHOT = "artifacts", "snapshot"
STAYS = frozenset({ARTIFACTS, SNAPSHOT, LOG_NAME})


@dataclass(frozen=True, slots=True)
class Site:
    """Is what all builds of one worker have in common.

    `folders` has one folder for each build. `cell` is `sandbox` or `vm`. `settings` are the operator's, and `environ`
    is the master's own environment: it says where images, store and caches are, and nothing of it reaches a build.
    """

    folders: RunFolders
    cell: str
    settings: Settings
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Network:
    """Is what a build asked for: the proxy's counts, and the kinds of requests that were not answered."""

    counts: Counts
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Is the source of a build as its steps need to know it; `project` is the folder that has `.hermit`."""

    project: Path
    name: str
    commit: str
    branch: str
    epoch: int
    url: str
    below: PurePath
    notes: tuple[str, ...]


class Workplace:
    """Is one build's.

    States: made -> brought -> open -> finished -> closed; `close` is reached from everywhere, and doing it twice is
    safe. All but `close` raise HermitError, and its exit code says whose doing it is.
    """

    def __init__(self, site: Site) -> None:
        """Make the build's folder; raise OSError where the disk is full."""
        self._site = site
        site.folders.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder, self._lock = site.folders.fresh()
        self.commit: Commit | None = None
        self._repository = ""
        self._source: Source | None = None
        self._old = Snapshot()
        self._running: Running | None = None
        self._counts: Counts | None = None
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[object]] = set()

    async def bring(self, repository: str, commit: str, branch: str) -> Commit:
        """Get a commit of a repository onto this machine and look at it."""
        name = PurePosixPath(repository.rstrip("/")).name.removesuffix(".git")
        name = name if name.strip(".") else "project"
        top = self.folder / "source" / name
        with self._at_work():
            commit = await self._fetched(repository, commit, branch, top)
            self._source = source = await asyncio.to_thread(find_source, top)
        self._repository = repository
        url = source.head.url if source.head else ""
        place = source.top / source.below
        self.commit = Commit(place, name, commit, branch, source.epoch, url, source.below, source.notes)
        return self.commit

    async def _fetched(self, repository: str, commit: str, branch: str, top: Path) -> str:
        leash = Leash(FETCH_SECONDS)
        fetching = asyncio.ensure_future(asyncio.to_thread(thd_check_out, repository, commit, branch, top, leash))
        try:
            return await asyncio.shield(fetching)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, and all of the master's have to wait for one another.
            leash.pull()
            await to_the_end(asyncio.wait([fetching]))
            raise

    async def open(self, mode: str, image: str, top: PurePosixPath, wanted: Mapping[str, float], say: Say) -> None:
        """Start proxy and cell, and put the source in at `top`; `wanted` are the limits that the build asks for."""
        with self._at_work():
            self._running = await self._opened(Mode(mode), image, top, self._limits(wanted), say)

    async def _opened(self, mode: Mode, ref: str, top: PurePosixPath, limits: Limits, say: Say) -> Running:
        source, environ, stack = self._brought(), self._site.environ, self._stack
        project = source.top / source.below
        settings = self._proxy_settings(project)
        for path in (settings.rules, project / ref):
            _check_inside(source.top, path)
        spawned = spawn(mode.value, self.folder, environ)  # imports while the rest is looked for
        stack.callback(spawned.end)
        self._old = await asyncio.to_thread(read_tree, settings.snapshot)
        image = await ensure_image(ref, project, mode, environ=environ, progress=say)
        stack.enter_context(Library.of(environ).use(image))
        say(f"image {image.name}: {image.digest}")
        authority = RunCA.create(settings.clock, run=self.folder.name)
        proxy = await ProxyProcess.start(mode, settings, self.folder, ca=authority, spawned=spawned)
        stack.push_async_callback(proxy.stop)
        vm = self._site.settings.vm
        wish = Wish(self._site.cell, mode, self.folder / "cell", limits, settings.clock, vm, environ)
        await stack.enter_async_context(room_for(wish, say))
        cell = await make_cell(wish, image, say)
        stack.push_async_callback(cell.destroy)
        with await cell.start() as listener:
            say(f"cell: {self._site.cell}")
            await both(self._put(cell, image, authority, source, top, mode), proxy.ready())
            proxy.listen(listener)
        if mode is Mode.HERMETIC:
            say(APT_DATES_OFF)
        head = source.head
        facts = Facts(source.epoch, head.url, head.commit, head.branch) if head else Facts(source.epoch)
        return Running(cell, proxy, settings, mode, limits, facts, environ)

    async def _put(  # noqa: PLR0913, PLR0917  what a build begins with
        self, cell: Cell, image: Image, authority: RunCA, source: Source, top: PurePosixPath, mode: Mode
    ) -> None:
        await put_own(cell, image, authority, Wire(hermetic=mode is Mode.HERMETIC), source.epoch)
        await put_source(cell, source, top, self.folder)

    async def run(self, step: Planned, give: Give) -> Done:
        """Run a step to its end; `give` gets its output, and the step waits while it works."""
        with self._at_work():
            return await self._opened_already().run(step, give)

    async def interrupt(self, number: int) -> None:
        """Send a signal to the step that runs."""
        if self._running is not None:
            await self._running.cell.interrupt(number)

    async def give_up(self) -> None:
        """End whatever runs in the cell."""
        if self._running is not None:
            await self._running.cell.stop()

    async def take(self, folder: PurePosixPath, patterns: Sequence[str]) -> tuple[Artifact, ...]:
        """Put the artifacts into the store and into `folder / ARTIFACTS`, sorted by path; no step runs after it."""
        with self._at_work():
            return await self._opened_already().take(folder, patterns, self.folder / ARTIFACTS)

    async def finish(self) -> Network:
        """End all that the build has running; tell what it asked for."""
        with self._at_work():
            self._counts = counts = await self._opened_already().finish()
            log = self.folder / LOG_NAME
            troubles = await asyncio.to_thread(lambda: troubles_of(read_log(log)) if log.exists() else ())
        return Network(counts, troubles)

    async def record(self) -> Recorded | None:
        """Write the snapshot of a recording that went well, once it is finished; None where there is nothing to keep.

        It is in `folder / SNAPSHOT`, with the lock of the image: what belongs below `.hermit`.
        """
        with self._at_work():
            return await to_the_end(asyncio.to_thread(self._thd_record))

    def _thd_record(self) -> Recorded | None:
        settings, counts = self._opened_already().settings, self._counts
        if counts is None:
            raise HermitError("a recording is kept once it is finished")
        if counts.requests and not counts.recorded and not len(self._old):
            return None  # it needs something, and nothing says what
        recorded = write_snapshot(
            settings.snapshot,
            self._old,
            self.folder / LOG_NAME,
            store_url=settings.store,
            pool=settings.pool,
            keep_unused=False,
            environ=self._site.environ,
            asked=counts.requests > 0,
        )
        kept = self.folder / SNAPSHOT
        kept.mkdir()
        for name in (settings.snapshot.name, RECORDED, IMAGE_LOCK):
            found = settings.snapshot.with_name(name)
            if found.is_dir():
                shutil.copytree(found, kept / name)
            elif found.exists():
                shutil.copyfile(found, kept / name)
        return recorded

    async def close(self) -> None:
        """Leave nothing but what stays of a build: no process, no mount, and of the folder artifacts and logs."""
        for task in (tasks := self._tasks.copy()):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self._stack.aclose()
        finally:
            if self._lock >= 0:
                await asyncio.to_thread(self._site.folders.tidy, self.folder)
                os.close(self._lock)
                self._lock = -1

    def _limits(self, wanted: Mapping[str, float]) -> Limits:
        settings = self._site.settings
        return held(wanted, settings.limits, usual(self._site.cell, settings.vm))

    def _proxy_settings(self, project: Path) -> ProxySettings:
        settings, hermit = self._site.settings, project / ".hermit"
        recorded = read_recorded(hermit)
        clock = (float(recorded),) if recorded is not None else ()
        pool = settings.pool or pool_name(self._repository, Path(self._repository))
        return settings.proxy(hermit / "rules.yaml", hermit / "network", pool, clock)

    def _brought(self) -> Source:
        if self._source is None:
            raise HermitError("there is no source yet", hint="a Checkout step comes before it")
        return self._source

    def _opened_already(self) -> Running:
        if self._running is None:
            raise HermitError("there is no cell yet", hint="a RunSpec step opens it")
        return self._running

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Have `close` end what this task does."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  for mypy: a coroutine of asyncio's runs in one
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)


def _check_inside(top: Path, path: Path) -> None:
    """Refuse a stranger's link to a file of the master's: a mistake is told with the words that it is found in."""
    try:
        inside = path.resolve().is_relative_to(top.resolve())
    except RuntimeError:  # links in a circle
        inside = False
    if not inside:
        raise InputError([Mistake(path, None, "leads out of the repository; expected a file within it")])

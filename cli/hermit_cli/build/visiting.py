"""Opens a cell for a person: image, proxy and files as a build has them, and one command with a terminal of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_cli.build.kept import About, Kept
from hermit_cli.build.terminals import attached
from hermit_cli.output import say, say_styled
from hermit_proxy.errors import HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.settings import ProxySettings
from hermit_steps.plan import Plan
from hermit_workers.buildview import Facts, build_environment
from hermit_workers.cell import Command, Limits, User
from hermit_workers.environment import Wire
from hermit_workers.image.library import Image, Library
from hermit_workers.image.making import ensure_image
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.source.putting import put_own, put_source
from hermit_workers.source.worktree import Source
from hermit_workers.waiting import both, to_the_end

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TERMINAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,40}")


@dataclass(frozen=True, slots=True)
class Visit:
    """Is what a visit needs to know before it starts; `about` is what is kept to be visited, None for a fresh cell."""

    mode: Mode
    proxy: ProxySettings
    rundir: Path
    project: Path
    source: Source
    plan: Plan
    limits: Limits
    kept: Kept
    about: About | None
    online: bool
    command: tuple[str, ...]
    environment: Mapping[str, str]


def visit(what: Visit) -> int:
    """Run the command in its cell and give its status; raise HermitError where that could not be."""
    return asyncio.run(_visit(what))


async def _visit(what: Visit) -> int:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    ended: list[int] = []

    def end(number: int) -> None:
        ended.append(number)
        if task is not None:
            task.cancel()

    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, end, number)
    try:
        image = await _image(what)
        with contextlib.ExitStack() as stack:
            stack.enter_context(Library.of(what.environment).use(image))
            if what.about is not None:
                stack.enter_context(what.kept.held())
            return await _with_cell(what, image)
    except asyncio.CancelledError:
        if not ended:
            raise
        return 128 + ended[0]


async def _image(what: Visit) -> Image:
    if what.about is None:
        return await ensure_image(what.plan.image, what.project, what.mode, environ=what.environment, progress=say)
    image = Library.of(what.environment).get(what.about.image)
    if image is None:
        message = f"the image of what was kept is gone: {what.about.image}"
        raise HermitError(message, hint="hermit build --keep makes another")
    return image


async def _with_cell(what: Visit, image: Image) -> int:
    authority = RunCA.create(what.proxy.clock, run=what.rundir.name)
    cell = SandboxCell(image.root, what.rundir / "cell" if what.about is None else what.kept.layer, what.limits)
    async with _proxy(what, authority) as proxy:
        try:
            listener = await cell.start() if proxy is None else (await both(cell.start(), proxy.ready()))[0]
            with listener:
                if proxy is not None:
                    proxy.listen(listener)
            if what.about is not None:
                await cell.keep()
            wire = Wire(hermetic=what.mode is Mode.HERMETIC)
            await put_own(cell, image, authority, wire, what.plan.facts.epoch)
            if what.about is None:
                await put_source(cell, what.source, what.plan.top, what.rundir)
            async with attached() as (stdin, out):
                ended = await cell.run(_command(what, wire), stdin=stdin, output=out)
            if ended.exceeded:
                say_styled(f"hermit: the cell was ended: {ended.exceeded}", "bad")
            return ended.status
        finally:
            await to_the_end(cell.destroy())


@asynccontextmanager
async def _proxy(what: Visit, authority: RunCA) -> AsyncIterator[ProxyProcess | None]:
    if not what.online:
        yield None
        return
    proxy = await ProxyProcess.start(what.mode, what.proxy, what.rundir, ca=authority)
    try:
        yield proxy
    finally:
        await proxy.stop()


def _command(what: Visit, wire: Wire) -> Command:
    facts = what.plan.facts
    user: User = "root" if what.about is not None and what.about.user == "root" else "build"
    environment = build_environment(Facts(facts.epoch, facts.repo_url, facts.commit, facts.branch), wire, user)
    # A build has a dumb terminal; a person has the one that they sit at.
    name = what.environment.get("TERM", "")
    if sys.stdin.isatty() and _TERMINAL.fullmatch(name):
        environment["TERM"] = name
    folder = PurePosixPath(what.about.folder) if what.about is not None else what.plan.folder
    return Command(what.command, environment, folder, user)

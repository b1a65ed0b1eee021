"""Conducts one run: proxy and cell start side by side, the command runs, and everything ends in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermit_cli import runs
from hermit_cli.attended import attended
from hermit_cli.interrupts import Interrupts
from hermit_cli.output import say
from hermit_cli.progress import Progress
from hermit_proxy.errors import HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.control import Message
from hermit_proxy.run.process import ProxyProcess
from hermit_proxy.run.session import Counts
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import config_dir
from hermit_workers.waiting import both

if TYPE_CHECKING:  # imported while the proxy boots, which a run has to wait for anyway
    from hermit_workers.command.runtime import Cell
    from hermit_workers.command.view import Hidden

_GRACE = 10.0
_PATIENCE = 3  # interrupts from the keyboard, within the grace time
_STORE_SECRETS = frozenset({"password_file", "ssl_keyfile"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Is everything that a run needs to know before it starts.

    `environment` is the user's own; `stdout_to_stderr` keeps stdout free for Hermit's own object.
    """

    mode: Mode
    proxy: ProxySettings
    rundir: Path
    folder: Path
    command: tuple[str, ...]
    environment: dict[str, str]
    keep_caches: bool
    quiet: bool
    stdout_to_stderr: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """Is how a run ended: the command's status, the proxy's counts by name, and what interrupted it."""

    status: int
    counts: dict[str, int]
    signal: str | None

    @property
    def good(self) -> bool:
        """Tell whether everything went as a recording must, to be worth keeping."""
        return not (self.status or self.signal or self.counts["broken"])


def conduct(plan: Plan, interrupts: Interrupts) -> Ending:
    """Run a plan to its end; raise HermitError where it could not be run. What interrupts it is held from then on."""
    return asyncio.run(_Conductor(plan, interrupts).run())


class _Conductor:
    """States: starting -> running -> ending -> over; an interrupt leads to ending from everywhere."""

    def __init__(self, plan: Plan, interrupts: Interrupts) -> None:
        self._plan = plan
        self._interrupts = interrupts
        self._progress = Progress(plan.mode.value, quiet=plan.quiet)
        self._cell: Cell | None = None
        self._interrupted: str | None = None
        self._presses = 0
        self._task: asyncio.Task[Any] | None = None
        self._running = False

    async def run(self) -> Ending:
        self._task = asyncio.current_task()
        with attended(self._progress, self._interrupts, self._on_signal):
            try:
                return await self._with_proxy()
            except asyncio.CancelledError:
                if self._interrupted is None:
                    raise
                return Ending(128 + signal.Signals[self._interrupted], named(Counts()), self._interrupted)

    async def _with_proxy(self) -> Ending:
        plan = self._plan
        authority = RunCA.create(plan.proxy.clock, run=plan.rundir.name)
        proxy = await ProxyProcess.start(plan.mode, plan.proxy, plan.rundir, on_event=self._on_event, ca=authority)
        try:
            status = await self._with_cell(proxy, authority)
            counts = await proxy.finish()
            return Ending(status, named(counts), self._interrupted)
        finally:
            await proxy.stop()

    async def _with_cell(self, proxy: ProxyProcess, authority: RunCA) -> int:
        from hermit_workers.command.runtime import Cell  # noqa: PLC0415  see above
        from hermit_workers.command.view import Trust, prepare  # noqa: PLC0415  see above
        from hermit_workers.environment import Wire  # noqa: PLC0415  see above
        from hermit_workers.trust import system_bundle  # noqa: PLC0415  see above

        plan = self._plan
        bundle = system_bundle()
        trust = Trust(authority.cert_pem, authority.bundle(bundle), authority.jks())
        wire = Wire(hermetic=plan.mode is Mode.HERMETIC, keep_caches=plan.keep_caches)
        hidden = self._hidden()
        sandbox, environment = prepare(plan.rundir, plan.folder, plan.environment, wire, trust, hidden)
        before = _identities(hidden)
        stdout = sys.stderr.buffer if plan.stdout_to_stderr else None
        self._cell = cell = Cell.start(sandbox, plan.command, environment, stdout=stdout)
        try:
            listener, _ = await both(cell.listener(), proxy.ready())
            with listener:
                proxy.listen(listener)
            self._running = True
            cell.go()
            waiting = asyncio.ensure_future(cell.wait())
            await asyncio.wait({waiting, proxy.died}, return_when=asyncio.FIRST_COMPLETED)
            if proxy.died.done():
                # The command may have got over it or ended by it: what it got is worth nothing either way.
                waiting.cancel()
                await proxy.status()  # raises what the proxy died of
            status = waiting.result()
        finally:
            self._running = False
            await cell.destroy()
        if moved := [path for path, identity in _identities(hidden).items() if identity != before[path]]:
            raise HermitError(f"the command has put something else in the place of {moved[0]}", hint="look what it is")
        return status

    def _hidden(self) -> Hidden:
        """Name what the command must not see: Hermit's own folders and the secrets that the proxy adds."""
        from hermit_workers.command.view import Hidden  # noqa: PLC0415  see above

        user = self._plan.environment
        folders = [runs.state_dir(user), config_dir(user), *_data_folders(user)]
        if (store := _store_folder(self._plan.proxy.store, user)) is not None:
            folders.append(store)
        files: tuple[Path, ...] = ()
        if (credentials := self._plan.proxy.credentials) is not None:
            files = (credentials, *_secret_files(credentials))
        files += _store_secrets(self._plan.proxy.store)
        if (settings := self._plan.proxy.settings_file) is not None:
            files += (Path(settings),)  # a link may lead out of the hidden folder
        return Hidden(tuple(folders), files)

    def _on_event(self, message: Message) -> None:
        if message.get("event") in {"status", "finished"}:
            self._progress.update(Counts.from_dict(message))

    def _on_signal(self, number: int) -> None:
        """Pass a signal on to the command, which may end in its own way; a second one, or ten seconds, end it.

        A key of the terminal has reached the command already, and what it means is the command's to say: in a shell
        or an interpreter it ends a line and no more.
        """
        name = signal.Signals(number).name
        cell = self._cell
        if cell is None or not self._running:
            self._interrupted = name
            if self._task is not None:
                self._task.cancel()
            return
        if number in {signal.SIGINT, signal.SIGQUIT} and _is_foreground():
            self._presses += 1
            asyncio.get_running_loop().call_later(_GRACE, self._forget_press)
            if self._presses < _PATIENCE:
                return
        if self._interrupted is not None:
            number = signal.SIGKILL
        else:
            asyncio.get_running_loop().call_later(_GRACE, self._end, cell)
        self._interrupted = name
        cell.signal(number)

    def _forget_press(self) -> None:
        self._presses -= 1

    def _end(self, cell: Cell) -> None:
        if self._running:
            say("hermit: the command does not end; ending it")
            cell.signal(signal.SIGKILL)


def _identities(hidden: Hidden) -> dict[Path, tuple[int, int] | None]:
    """Tell which folder is at each hidden path now: a link on the way can be turned, a mount point cannot."""
    found: dict[Path, tuple[int, int] | None] = {}
    for path in hidden.folders:
        try:
            status = path.stat()
        except OSError:
            found[path] = None
        else:
            found[path] = status.st_dev, status.st_ino
    return found


def named(counts: Counts) -> dict[str, int]:
    """Give the numbers among the counts by name."""
    return {name: value for name, value in counts.to_dict().items() if isinstance(value, int)}


def _is_foreground() -> bool:
    """Tell whether a terminal sends its keys to our process group, and so to the command as well."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _data_folders(user: dict[str, str]) -> list[Path]:
    home = Path(user.get("HOME") or Path.home())
    places = (("XDG_DATA_HOME", ".local/share"), ("XDG_CACHE_HOME", ".cache"))
    named = ((user.get(variable, ""), default) for variable, default in places)
    return [(Path(value) if Path(value).is_absolute() else home / default) / "hermit" for value, default in named]


def _store_folder(url: str, user: dict[str, str]) -> Path | None:
    """Give the folder of a store that is one (see store.open)."""
    if url.startswith("~"):
        return Path(user.get("HOME") or Path.home()) / url.lstrip("~/")
    if url.startswith("file:"):
        from urllib.parse import unquote, urlsplit  # noqa: PLC0415  few write their store as a URL

        return Path(unquote(urlsplit(url).path))
    return Path(url) if url.startswith("/") else None


def _store_secrets(url: str) -> tuple[Path, ...]:
    """Name the files that open a shared store: who can write there can make evidence."""
    if "?" not in url:
        return ()
    from urllib.parse import parse_qsl, urlsplit  # noqa: PLC0415  few stores need any

    return tuple(Path(value) for name, value in parse_qsl(urlsplit(url).query) if name in _STORE_SECRETS)


def _secret_files(credentials: Path) -> tuple[Path, ...]:
    """Name the files with secrets. Reading the bindings reads the secrets: so this process must not dump core."""
    import ctypes  # noqa: PLC0415  few runs have credentials

    from hermit_proxy.credentials.file import load_bindings  # noqa: PLC0415  few runs have credentials

    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    return load_bindings(credentials).secret_files()

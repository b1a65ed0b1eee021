"""Starts one proxy process for a run and supervises it: the same for the command line and the Buildbot master."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from hermit_proxy.errors import ExitCode, HermitError, NotHermeticError, UsageError
from hermit_proxy.policy import Mode
from hermit_proxy.run.ca import CA_CERT, CA_KEY, RunCA
from hermit_proxy.run.control import Channel, Message
from hermit_proxy.run.session import Counts
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.run.spawning import ERRORS, Spawned, spawn

__all__ = ["CA_CERT", "CA_KEY", "ProxyDiedError", "ProxyProcess", "ProxySettings"]

OnEvent = Callable[[Message], None]

# How long a proxy may take to wind up after "finish" (it waits 5 s for answers), to go then, and to go when hung up on.
_FINISH_GRACE = 15.0
_LEAVE_GRACE = 5.0
_STOP_GRACE = 2.0


class ProxyDiedError(HermitError):
    """Is raised when the proxy is gone and nobody told it to go: killed, or crashed."""


class ProxyProcess:
    """Is one proxy process seen from outside.

    States: started -> ready -> (listening, steps) -> finished -> gone; from each of them it may die. `died` is done as
    soon as the process is gone, with its exit status (negative: the signal); it is never an exception.
    """

    def __init__(self, spawned: Spawned, rundir: Path, on_event: OnEvent) -> None:
        """Take a process that was spawned for a run which is written down, and have it begin; `start` does both."""
        loop = asyncio.get_running_loop()
        self.rundir = rundir
        self.counts = Counts()
        self.died: asyncio.Future[int] = loop.create_future()
        self._loop = loop
        self._popen = spawned.popen
        self._on_event = on_event
        self._error: HermitError | None = None
        self._expected = False
        self._ready: asyncio.Future[None] = loop.create_future()
        self._waiting: dict[str, deque[asyncio.Future[Message]]] = {}
        self._channel = Channel(spawned.sock, self._packet, self._hangup)
        self._pidfd = os.pidfd_open(spawned.popen.pid)
        self._channel.start()
        self._channel.send({"op": "begin"})
        loop.add_reader(self._pidfd, self._gone)

    @classmethod
    async def start(  # noqa: PLR0913  the keywords have defaults
        cls,
        mode: Mode,
        settings: ProxySettings,
        rundir: Path,
        *,
        on_event: OnEvent | None = None,
        ca: RunCA | None = None,
        environ: Mapping[str, str] | None = None,
        spawned: Spawned | None = None,
    ) -> Self:
        """Have a proxy begin with a run whose files live in `rundir` (mode 0700, made if it is missing).

        `spawned` is one that was spawned for this mode and folder before; else one is spawned now. Writes settings and
        the run's certificate authority (one for `settings.clock` if none is given) into `rundir`. Returns at once;
        `ready` waits for the proxy to have read its rules and snapshot.
        """
        if spawned is not None and spawned.mode != mode.value:  # a recorder has a way to upstream
            raise ValueError(f"a proxy that was spawned to {spawned.mode} cannot be {mode.value}")
        _prepare(rundir, settings, ca)
        if spawned is None:
            spawned = spawn(mode.value, rundir, os.environ if environ is None else environ)
        return cls(spawned, rundir, on_event or (lambda _event: None))

    @property
    def pid(self) -> int:
        """Give the process's id."""
        return self._popen.pid

    async def ready(self) -> None:
        """Wait until it answers requests; raise what it could not start for, or ProxyDiedError."""
        await asyncio.shield(self._ready)

    def listen(self, sock: socket.socket) -> None:
        """Hand over a listening TCP socket; the caller may close its own descriptor then."""
        self._check_alive()
        self._channel.send({"op": "listen"}, [sock.fileno()])

    async def begin_step(self, name: str, network: str) -> None:
        """Put a step's network policy in force (`proxy` or `none`); it is when this returns."""
        await self._ask({"op": "step", "name": name, "network": network}, "step-started")

    async def end_step(self) -> None:
        """End the step; nothing is answered between steps."""
        await self._ask({"op": "end-step"}, "step-ended")

    async def status(self) -> Counts:
        """Ask for the counts as they are now."""
        return Counts.from_dict(await self._ask({"op": "status"}, "status"))

    async def finish(self) -> Counts:
        """Have it end what is under way and write out its log; give the final counts when the process is gone."""
        self._expected = True
        try:
            answer = await asyncio.wait_for(self._ask({"op": "finish"}, "finished"), _FINISH_GRACE)
        except TimeoutError as error:
            hint = "look for what holds up the store, and run it again"
            raise HermitError(f"the proxy did not end its work in {_FINISH_GRACE:.0f} s", hint=hint) from error
        self.counts = Counts.from_dict(answer)
        with suppress(TimeoutError):  # It goes of itself; hanging up now would make that look like a failure.
            await asyncio.wait_for(asyncio.shield(self.died), _LEAVE_GRACE)
        await self.stop()
        return self.counts

    async def wait_closed(self) -> int:
        """Wait until the process is gone and give its exit status."""
        return await asyncio.shield(self.died)

    async def stop(self) -> None:
        """End the process: politely by hanging up, then by force. Stopping twice is safe."""
        self._expected = True
        self._channel.close()
        try:
            await asyncio.wait_for(asyncio.shield(self.died), _STOP_GRACE)
        except TimeoutError:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await asyncio.shield(self.died)

    async def _ask(self, order: Message, answer: str) -> Message:
        self._check_alive()
        waiting = self._loop.create_future()
        self._waiting.setdefault(answer, deque()).append(waiting)
        self._channel.send(order)
        reply: Message = await waiting
        return reply

    def _check_alive(self) -> None:
        if self._error is not None:
            raise self._error
        if self.died.done():
            raise self._death()

    def _packet(self, message: Message, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        event = message.get("event")
        if event == "ready" and not self._ready.done():
            self._ready.set_result(None)
        elif event == "error":
            self._fail(_error(message))
        elif event in {"status", "finished"}:
            self.counts = Counts.from_dict(message)
        # A status that comes unasked answers nobody.
        if event != "status" or message.get("asked"):
            waiting = self._waiting.get(str(event))
            while waiting:
                future = waiting.popleft()
                if not future.done():
                    future.set_result(message)
                    break
        self._on_event(message)

    def _hangup(self) -> None:
        """Do nothing: the process is going, and how it went is known when it has gone."""

    def _gone(self) -> None:
        self._loop.remove_reader(self._pidfd)
        status = self._popen.wait()
        os.close(self._pidfd)
        self._pidfd = -1
        self._channel.drain()  # What it said last comes through another descriptor than its end.
        self._channel.close()
        self.died.set_result(status)
        self._fail(self._death())
        if not self._expected:
            self._on_event({"event": "died", "status": status})

    def _fail(self, error: HermitError) -> None:
        self._error = self._error or error
        futures: list[asyncio.Future[Any]] = [self._ready]
        for waiting in self._waiting.values():
            futures.extend(waiting)
        for future in futures:
            if not future.done():
                future.set_exception(self._error)
                future.exception()  # Nobody may be waiting; whoever asks next gets it.
        self._waiting.clear()

    def _death(self) -> ProxyDiedError:
        status = self.died.result()
        how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"
        said = _tail(self.rundir / ERRORS)
        return ProxyDiedError(f"the proxy {how}" + (f"; it said:\n{said}" if said else ""), hint="run it again")


def _prepare(rundir: Path, settings: ProxySettings, ca: RunCA | None) -> None:
    rundir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.write(rundir)
    authority = ca if ca is not None else RunCA.create(settings.clock, run=rundir.name)
    _write(rundir / CA_CERT, authority.cert_pem, 0o644)
    _write(rundir / CA_KEY, authority.key_pem, 0o600)


def _write(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data)


def _error(message: Message) -> HermitError:
    kinds: dict[Any, type[HermitError]] = {
        ExitCode.USAGE: UsageError,
        ExitCode.NOT_HERMETIC: NotHermeticError,
    }
    hint = message.get("hint")
    kind = kinds.get(message.get("exit_code"), HermitError)
    return kind(str(message.get("message")), hint=str(hint) if hint else None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
    except OSError:
        return ""

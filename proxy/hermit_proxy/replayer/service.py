"""Brings the parts of a replayer up in order and down in reverse, and obeys the supervisor in between."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvloop

from hermit_proxy.errors import ExitCode, HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.replayer.ahead import Ahead
from hermit_proxy.replayer.connection import Connection
from hermit_proxy.replayer.front import Front
from hermit_proxy.replayer.hardening import forbid_connections
from hermit_proxy.replayer.hub import Hub
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.server import Server
from hermit_proxy.replayer.tls import Contexts
from hermit_proxy.run.ca import RunCA, load_authority
from hermit_proxy.run.control import Control
from hermit_proxy.run.session import Session

_THREADS = 8
# Seconds for answers under way when the run ends.
_GRACE = 5.0
# Seconds for the last report to get out.
_LAST_WORD = 0.05


class Replayer:
    """Is one hermetic run's front with everything behind it. States: made -> serving -> drained -> closed."""

    def __init__(self, session: Session, ca: RunCA, limits: Limits | None = None) -> None:
        """Take the run and its authority."""
        self.session = session
        self._limits = limits if limits is not None else Limits()
        self._executor = ThreadPoolExecutor(_THREADS, "store")
        self._contexts = Contexts(ca)
        self._front = Front(session, ca.cert_pem, self._executor, self._limits)
        self._ahead = Ahead(session.store, session.snapshot.unordered())
        self._server = Server(self._connect, limit=self._limits.connections, sweep=self._limits.sweep)

    async def listen(self, sock: socket.socket) -> None:
        """Accept clients on a listening socket, which belongs to the replayer from now on."""
        await self._server.listen(sock)
        self._ahead.start()

    async def drain(self, grace: float = _GRACE) -> None:
        """Accept no more, wait for answers under way, hang up on the rest."""
        await self._server.drain(grace)
        await self._server.close()

    async def close(self) -> None:
        """Hang up and let go of everything; closing twice is safe."""
        self._ahead.stop()
        await self._server.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.session.close()

    def _connect(self, hub: Hub) -> Connection:
        return Connection(hub, self._front, self._limits, self._contexts)


class Supervised:
    """Lets the supervisor's orders reach a replayer."""

    def __init__(self, replayer: Replayer, control_fd: int) -> None:
        """Take the replayer and the inherited control socket."""
        self._replayer = replayer
        self._control = Control(control_fd, self, self._end)
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Serve until told to end; give the exit code."""
        session = self._replayer.session
        session.on_log = lambda _event: self._control.changed()
        session.on_fatal = self._fatal
        self._control.start()
        self._control.ready()
        code = await self._ended
        if code != ExitCode.DONE:  # a supervisor that has read `finished` waits for nothing but the end
            await asyncio.sleep(_LAST_WORD)
        return code

    async def on_listen(self, sock: socket.socket) -> None:
        """Accept clients."""
        await self._replayer.listen(sock)

    def on_step(self, name: str | None, network: str) -> str | None:
        """Put a step's policy in force."""
        session = self._replayer.session
        if name is None:
            return session.end_step()
        session.begin_step(name, network)
        return name

    async def on_finish(self) -> None:
        """End what is under way and bring log and store to the disk."""
        await self._replayer.drain()
        await asyncio.get_running_loop().run_in_executor(None, self._replayer.session.flush)

    def status(self) -> Mapping[str, Any]:
        """Give the counts."""
        return self._replayer.session.counts.to_dict()

    def _fatal(self, error: HermitError) -> None:
        self._control.error(error)
        self._end(int(error.exit_code))

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


def run(control_fd: int, rundir: Path) -> int:
    """Load the run and serve it; raise HermitError for what it cannot start with."""
    ca = load_authority(rundir)
    session = Session.load(rundir, Mode.HERMETIC)
    forbid_connections(session.settings.store)
    gc.freeze()  # Going over a large snapshot again and again would hold up every client.
    gc.enable()

    async def _serve() -> int:
        replayer = Replayer(session, ca)
        return await Supervised(replayer, control_fd).run()

    return uvloop.run(_serve())

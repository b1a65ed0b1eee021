"""Hosts the recorder of one run in Twisted: starts its parts in order, obeys the supervisor, stops them in reverse."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from hermit_proxy.errors import HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.recorder.addons.certificates import upstream_context
from hermit_proxy.recorder.core import Recorder
from hermit_proxy.recorder.leaves import LeafContexts
from hermit_proxy.replayer.internal_server import InternalServer
from hermit_proxy.run.ca import load_authority
from hermit_proxy.run.control import Control
from hermit_proxy.run.session import Session

# Seconds for answers under way when the run ends.
_GRACE = 5.0


class RecorderService(Service):
    """Is the recorder process.

    States: made -> loading -> ready -> finishing -> ended. From each of them a HermitError leads to ended, after it was
    reported; the supervisor's hanging up leads there at once.
    """

    def __init__(self, control_fd: int, rundir: Path, end: Callable[[int], None]) -> None:
        """Take the control socket, the run's folder, and what ends the process with an exit code."""
        self._control = Control(control_fd, self, end)
        self._rundir = rundir
        self._end = end
        self._session: Session | None = None
        self._engine: InternalServer | None = None
        self._recorder: Recorder | None = None
        self._starting: asyncio.Task[None] | None = None

    def startService(self) -> None:  # noqa: N802  Twisted's name
        """Load in a task of the running loop."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted is half typed
        self._control.start()
        self._starting = asyncio.get_running_loop().create_task(self._start())

    def stopService(self) -> Deferred[None]:  # noqa: N802  Twisted's name
        """Stop the parts; stopping twice is safe."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted is half typed
        return Deferred.fromFuture(asyncio.ensure_future(self._stop(grace=0)))

    async def on_listen(self, sock: socket.socket) -> None:
        """Accept clients."""
        await self._started().listen(sock)

    def on_step(self, name: str | None, network: str) -> str | None:
        """Put a step's policy in force."""
        session = self._loaded()
        if name is None:
            return session.end_step()
        session.begin_step(name, network)
        return name

    async def on_finish(self) -> None:
        """End what is under way and bring log and store to the disk."""
        await self._started().finish(_GRACE)
        await asyncio.to_thread(self._loaded().flush)

    def status(self) -> Mapping[str, Any]:
        """Give the counts."""
        return self._session.counts.to_dict() if self._session is not None else {}

    def fail(self, error: Exception) -> None:
        """Report what makes the run worthless, and end."""
        known = error if isinstance(error, HermitError) else HermitError(f"the recorder failed: {error!r}")
        self._control.error(known)
        self._end(int(known.exit_code))

    async def _start(self) -> None:
        try:
            await self._load()
        except Exception as error:  # noqa: BLE001  whatever it is, the supervisor has to know
            self.fail(error)
        else:
            self._control.ready()

    async def _load(self) -> None:
        authority = load_authority(self._rundir)
        session = self._session = Session.load(self._rundir, Mode.RECORD)
        session.on_log = lambda _event: self._control.changed()
        session.on_fatal = self.fail
        self._engine = InternalServer(session)
        await self._engine.start()
        self._recorder = Recorder(
            session,
            session.bindings,
            self._engine,
            upstream=upstream_context(session.settings.upstream_trust),
            for_host=LeafContexts(authority),
            alarm=self.fail,
        )
        gc.freeze()  # What is here now stays: going over the imports again and again would hold up every client.

    async def _stop(self, grace: float) -> None:
        if self._recorder is not None:
            await self._recorder.finish(grace)
        if self._engine is not None:
            await self._engine.close()
        if self._session is not None:
            self._session.close()

    def _loaded(self) -> Session:
        if self._session is None:
            raise HermitError("the recorder is not ready", hint="wait for `ready`")
        return self._session

    def _started(self) -> Recorder:
        if self._recorder is None:
            raise HermitError("the recorder is not ready", hint="wait for `ready`")
        return self._recorder

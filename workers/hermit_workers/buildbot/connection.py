"""Is what Buildbot takes for the connection to a worker: there is none, and steps find their build's place on it."""

from __future__ import annotations

from typing import Any

from buildbot.worker.protocols.base import Connection
from twisted.internet.defer import Deferred, fail, succeed

from hermit_proxy.errors import HermitError
from hermit_workers.buildbot.workplace import Workplace


class CellConnection(Connection):
    """Is a worker's connection within the master's process.

    Only Hermit's steps work on it, by `workplace`. No program in the cell speaks Buildbot's worker protocol, so there
    is nobody who could lie in it (docs/decisions/no-worker-in-the-cell.md).
    """

    def __init__(self, name: str, workplace: Workplace, *, last: bool) -> None:
        """Take the worker's name and the place of the build that it is for; `last` says that there is no other try."""
        super().__init__(name)
        self.workplace = workplace
        self.last = last

    def get_peer(self) -> str:
        """Say who is at the other end."""
        return "a cell of this machine"

    def loseConnection(self) -> None:
        """Tell Buildbot that the worker has gone."""
        self.notifyDisconnected()

    def remotePrint(self, message: str) -> Deferred[None]:  # noqa: ARG002  Buildbot's
        """Answer a ping."""
        return succeed(None)

    def remoteGetWorkerInfo(self) -> Deferred[dict[str, Any]]:
        """Tell what is shown of a worker: nothing that a build could have said."""
        return succeed({"version": "hermit", "system": "posix", "basedir": "/build", "worker_commands": {}})

    def remoteSetBuilderList(self, builders: list[tuple[str, str]]) -> Deferred[list[str]]:
        """Take all builders: a cell knows none of them."""
        return succeed([name for name, _ in builders])

    def remoteStartBuild(self, builderName: str) -> Deferred[None]:  # noqa: ARG002  Buildbot's
        """Begin a build."""
        return succeed(None)

    def remoteShutdown(self) -> Deferred[None]:
        """Do nothing: a cell goes with its build."""
        return succeed(None)

    def remoteStartCommand(
        self,
        remoteCommand: Any,  # noqa: ARG002  Buildbot's
        builderName: str,  # noqa: ARG002  Buildbot's
        commandId: str,  # noqa: ARG002  Buildbot's
        commandName: str,
        args: dict[str, Any],  # noqa: ARG002  Buildbot's
    ) -> Deferred[None]:
        """Refuse what Buildbot's own steps ask of a worker."""
        hint = "use Checkout and RunSpec, and write the commands into .hermit/build.yaml"
        return fail(HermitError(f"a cell has no worker that could do `{commandName}`", hint=hint))

    def remoteInterruptCommand(
        self,
        builderName: str,  # noqa: ARG002  Buildbot's
        commandId: str,  # noqa: ARG002  Buildbot's
        why: str,  # noqa: ARG002  Buildbot's
    ) -> Deferred[None]:
        """Do nothing: no command was started."""
        return succeed(None)

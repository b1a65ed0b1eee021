"""Stands between Buildbot's web server and the hooks: a request comes in, at most one change is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from buildbot.util.twisted import async_to_deferred
from buildbot.www.hooks.base import BaseHookHandler
from twisted.internet.defer import DeferredLock
from twisted.python import log
from twisted.web.server import Request

from hermit_master.hooks.change import change_of, is_stored
from hermit_master.hooks.delivery import (
    GITEA,
    GITHUB,
    MAX_BODY,
    Delivery,
    Headers,
    Opened,
    RefusedDeliveryError,
    open_delivery,
)
from hermit_master.hooks.events import Event, Ignored
from hermit_master.hooks.fields import BadPayloadError
from hermit_master.hooks.payload import read_event
from hermit_master.names import RepositoryId
from hermit_master.settings.configuration import Configuration
from hermit_master.settings.repository import Forge, Repository

_PATH = re.compile(r"/change_hook/[a-z]+/([a-z0-9._-]{1,64})")
_SHA1 = "x-hub-signature"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Is how some forges speak, and what tells of the repositories at the time of a request."""

    headers: Headers
    forges: frozenset[Forge]
    configuration: Callable[[], Configuration]


class SignedHook(BaseHookHandler):
    """Is the handler of one dialect; its options are made by `dialects`."""

    def __init__(self, master: Any, options: dict[str, Any]) -> None:
        """Take Buildbot's master and the dialect's options."""
        super().__init__(master, options)
        self._master = master
        self._dialect: Dialect = options["dialect"]
        self._lock = DeferredLock()

    @async_to_deferred
    async def getChanges(  # noqa: N802  Buildbot's name
        self, request: Request
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Store the change of a delivery, unless it was stored before; raise RefusedDeliveryError.

        Buildbot gets nothing left to store: between its asking and its storing the same delivery could come again.
        """
        try:
            repository, opened = self._open(request)
            event = _event(opened, repository)
        except RefusedDeliveryError as error:
            log.msg(f"hook: a delivery is refused: {error}")
            raise
        if not isinstance(event, Ignored):
            change = change_of(event, repository, opened.delivery)
            async with self._lock:
                asked = repository.id, event.commit.sha, opened.delivery
                if not await self._master.db.pool.do(is_stored, *asked):
                    await self._master.data.updates.addChange(src="git", **change)
        return [], "git"

    def _open(self, request: Request) -> tuple[Repository, Opened]:
        dialect = self._dialect
        repository = _repository(dialect, request)
        secret = repository.hook_secret.value if repository is not None and repository.hook_secret else None
        opened = open_delivery(dialect.headers, _delivery(request, dialect.headers), secret)
        if repository is None:
            raise AssertionError("opened without a repository's secret")
        return repository, opened


def dialects(configuration: Callable[[], Configuration]) -> dict[str, dict[str, Any]]:
    """Give Buildbot's `change_hook_dialects`; `configuration` gives what holds at the time of a request.

    A repository's hook is at `/change_hook/github/ID` or `/change_hook/gitea/ID`: the address says whose secret it is,
    so that nothing is parsed before it is believed.
    """
    spoken = {
        "github": Dialect(GITHUB, frozenset({Forge.GITHUB}), configuration),
        "gitea": Dialect(GITEA, frozenset({Forge.GITEA, Forge.FORGEJO}), configuration),
    }
    return {name: {"custom_class": SignedHook, "dialect": dialect} for name, dialect in spoken.items()}


def _repository(dialect: Dialect, request: Request) -> Repository | None:
    found = _PATH.fullmatch(request.uri.partition(b"?")[0].decode("latin-1"))
    repository = dialect.configuration().repositories.get(RepositoryId(found.group(1))) if found else None
    return repository if repository is not None and repository.forge in dialect.forges else None


def _delivery(request: Request, names: Headers) -> Delivery:
    wanted = ("content-type", names.event, names.delivery, names.signature, _SHA1)
    sent = {name: request.getHeader(name) for name in wanted}
    body = request.content.read(MAX_BODY + 1) if request.content is not None else b""
    return Delivery({name: value for name, value in sent.items() if value is not None}, body)


def _event(opened: Opened, repository: Repository) -> Event:
    try:
        return read_event(opened.event, opened.payload, repository.project)
    except BadPayloadError as error:
        raise RefusedDeliveryError(str(error)) from error

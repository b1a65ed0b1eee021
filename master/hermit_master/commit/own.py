"""Keeps the table of the commits that Hermit wrote, which alone says that a commit is Hermit's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import sqlalchemy as sa

from hermit_master.names import Login, RepositoryId, Sha

Value = TypeVar("Value")

_NAME, _SHA, _LOGIN = 64, 64, 128
_METADATA = sa.MetaData()
_TABLE = sa.Table(
    "hermit_commits",
    _METADATA,
    sa.Column("repository", sa.String(_NAME), primary_key=True),
    sa.Column("commit", sa.String(_SHA), primary_key=True),
    sa.Column("recorded", sa.String(_SHA), nullable=False),
    sa.Column("sender", sa.String(_LOGIN), nullable=False),
)


class Database(Protocol):
    """Is what runs a function with a connection in a thread: Buildbot's `master.db.pool`."""

    def do_with_transaction(self, function: Callable[..., Value], /, *arguments: object) -> Awaitable[Value]:
        """Run a function within a transaction that is durable when this is done."""
        ...


class OwnCommits:
    """Is the table, within Buildbot's own database, whichever that is.

    A row says that Hermit wrote `commit` on top of `recorded`, which `sender` had pushed. Rows are entered before the
    commit is pushed, so that no hook or poller can be faster; a row whose push was dropped does no harm.
    """

    def __init__(self, database: Database) -> None:
        """Take Buildbot's database."""
        self._database = database

    async def create(self) -> None:
        """Make the table where there is none yet."""
        await self._database.do_with_transaction(_METADATA.create_all)

    async def enter(self, repository: RepositoryId, commit: Sha, recorded: Sha, sender: Login | None) -> None:
        """Enter a commit; once more changes nothing."""
        await self._database.do_with_transaction(_enter, repository, commit, recorded, sender or "")

    async def has(self, repository: RepositoryId, commit: Sha) -> bool:
        """Tell whether Hermit wrote a commit of this repository."""
        return await self._sender(repository, commit) is not None

    async def sender(self, repository: RepositoryId, commit: Sha) -> Login | None:
        """Give who had pushed what this commit of Hermit's recorded; None where nobody knows, or it is not Hermit's."""
        found = await self._sender(repository, commit)
        return Login(found) if found else None

    async def _sender(self, repository: str, commit: str) -> str | None:
        found: str | None = await self._database.do_with_transaction(_find, repository, commit)
        return found


def _where(repository: str, commit: str) -> sa.ColumnElement[bool]:
    return sa.and_(_TABLE.c.repository == repository, _TABLE.c.commit == commit)


def _find(connection: sa.Connection, repository: str, commit: str) -> str | None:
    return connection.execute(sa.select(_TABLE.c.sender).where(_where(repository, commit))).scalar()


def _enter(connection: sa.Connection, repository: str, commit: str, recorded: str, sender: str) -> None:
    if _find(connection, repository, commit) is None:
        row = {"repository": repository, "commit": commit, "recorded": recorded, "sender": sender}
        connection.execute(_TABLE.insert(), row)

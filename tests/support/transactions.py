"""Stands in for Buildbot's pool of database threads where a test has no master: the same calls, at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

T = TypeVar("T")


class Transactions:
    """Runs functions with a connection to an SQLite file, each in a transaction, as `master.db.pool` does."""

    def __init__(self, path: Path) -> None:
        """Open or make the file."""
        self._engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)

    async def do_with_transaction(self, function: Callable[..., T], /, *arguments: object) -> T:
        """Run a function; what it wrote is durable when it is done."""
        with self._engine.begin() as connection:
            return function(connection, *arguments)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing, without an event loop; give its result."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        found: T = ended.value
        return found
    raise AssertionError("it waits for something")

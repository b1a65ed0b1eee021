"""Lets what Twisted runs wait for what asyncio runs, and the other way round: a master has both on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def deferred(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Start asyncio's work and give what Twisted can wait for; cancelling it cancels the work."""
    return Deferred.fromFuture(asyncio.ensure_future(work))


def future(waiting: Deferred[T]) -> asyncio.Future[T]:
    """Give what asyncio can wait for; it is for the loop that runs now."""
    return waiting.asFuture(asyncio.get_running_loop())

"""Runs something beside a test so that the test may fail: what is left of a task speaks up after everything else."""

# A task that nobody waits for is kept by the traceback of the test that failed. It ends with the cell, and its error is
# printed when the interpreter ends, below the summary: there it hides which test it was.

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

_Result = TypeVar("_Result")


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, _Result]) -> AsyncIterator[asyncio.Task[_Result]]:
    """Give the task; it is over afterwards, and how it ended has been seen."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

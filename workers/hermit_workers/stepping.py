"""Runs a step's command for as long as its own time lasts and its build's proxy is there."""

from __future__ import annotations

import asyncio
from typing import Any

from hermit_proxy.run.process import ProxyProcess
from hermit_workers.cell import Cell, Command, Ended

_TIMED_OUT = 124  # as timeout(1) tells it


async def run_step(cell: Cell, command: Command, proxy: ProxyProcess, seconds: float | None, output: int) -> Ended:
    """Run a command to its end, or end the cell after `seconds` (None: all the build's); it prints to `output`.

    Raise ProxyDiedError where the proxy is gone before the command is, CellError where it could not be run.
    """
    running = asyncio.ensure_future(cell.run(command, output=output))
    try:
        waiting: set[asyncio.Future[Any]] = {running, proxy.died}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        if proxy.died.done():
            # The step may have got over it or ended by it: what it got is worth nothing either way.
            await proxy.status()  # raises what the proxy died of
        await cell.stop()
        return Ended(_TIMED_OUT, f"time: {seconds:g} s of {seconds:g} s (the step's own)")
    finally:
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

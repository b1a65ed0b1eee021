"""Hears what liars in a guest say, as a cell hears its agent."""

from __future__ import annotations

import asyncio
import socket
from pathlib import PurePosixPath

from hermit_workers.cell import CellError, Command
from hermit_workers.vm.agent import Agent
from hermit_workers.vm.sinks import Text
from tests.integration.vm.escapes import attempts
from tests.integration.vm.escapes.siege import LONG, Found, Guest

_TRUE = Command(("/bin/true",), {}, PurePosixPath("/"), "root")


async def hear_liars(one: Guest, found: Found) -> None:
    """Have a guest lie and tell the truth, each in a connection of its own, and keep what came of it."""
    said = {name: (first, then, "once") for name, (first, then, _) in attempts.LIES.items()}
    said |= {"honest": (*attempts.HONEST, "once"), "cut": (*attempts.CUT, "and ends")}
    said |= {"flood": (*attempts.FLOOD, "for ever"), "silence": (*attempts.SILENT, "once")}
    words = [word for first, then, how in said.values() for word in (first.hex(), then.hex(), how)]
    lying = asyncio.create_task(one.attempt("lie", 3128, *words, seconds=4 * LONG))
    found.facts["lies"] = {name: await _hear(await asyncio.wait_for(one.agents.get(), LONG), name) for name in said}
    found.facts["liar"] = await lying


async def _hear(connection: socket.socket, name: str) -> tuple[str, int]:
    """Give what an agent's end is, and how many bytes of output were kept."""
    agent, sink = Agent(connection), Text(1000)
    try:
        await agent.greeting(2 if name == "silence" else LONG)
        running = asyncio.create_task(agent.run(_TRUE, list(_TRUE.argv), sink))
        while not running.done() and not sink.too_much:  # noqa: ASYNC110  a Text tells nobody
            await asyncio.sleep(0.05)
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
            return "given up", len(sink.data)
        status = await running
        if name in attempts.LIES:  # it is found out when the order is done already
            await asyncio.wait_for(agent.run(_TRUE, list(_TRUE.argv), sink), LONG)
    except CellError as error:
        return str(error), len(sink.data)
    finally:
        await agent.close()
    return f"status {status}", len(sink.data)

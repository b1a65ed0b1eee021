"""Serves a made-up snapshot with limits of the test's own, on a real loop and real sockets in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from hermit_proxy.policy import Mode
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.service import Replayer
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.events import RequestEvent, read_log
from hermit_proxy.run.session import Session
from tests.support.replaying import HOST, Project

BIG = bytes(8 << 20)
HEAD = f"GET http://{HOST}/big HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
_PATIENCE = 20

Scenario = Callable[[int], Awaitable[None]]


def serve(tmp_path: Path, limits: Limits, scenario: Scenario) -> list[RequestEvent]:
    """Serve while a scenario runs with the port; give the log."""
    project = Project(tmp_path / "project")
    project.add(f"http://{HOST}/big", BIG)
    rundir = tmp_path / "run"
    rundir.mkdir()
    project.settings().write(rundir)

    async def main() -> None:
        replayer = Replayer(Session.load(rundir, Mode.HERMETIC), RunCA.create(), limits)
        sock = socket.create_server(("127.0.0.1", 0))
        await replayer.listen(sock)
        try:
            await asyncio.wait_for(scenario(sock.getsockname()[1]), _PATIENCE)
            await replayer.drain(1)
        finally:
            await replayer.close()

    asyncio.run(main())
    return list(read_log(rundir / "requests.jsonl"))


def asking(octets: bytes, answers: list[bytes]) -> Scenario:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets)
        answers.append(await reader.read())
        writer.close()

    return scenario

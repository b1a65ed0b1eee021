"""Has a process stand for a cell's machine: the guest's real agent, with nothing around it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from hermit_workers.cell import Limits, User
from hermit_workers.vm import cell as module
from hermit_workers.vm.machine import Machine
from tests.unit.workers.vm.guests import FIRST, GUEST, PERL, have_namespaces


class Standing:
    """Stands for a machine.Machine: the agent is a process, and it dials in as a guest does."""

    def __init__(self, *, dials: bool) -> None:
        self.proxy = socket.create_server(("127.0.0.1", 0))
        self.agent = socket.create_server(("127.0.0.1", 0))
        self.agent.setblocking(False)
        self.over: asyncio.Task[None] | None = None
        self.exceeded: str | None = None
        self.hint = "hermit doctor"
        self._dials = dials
        self._running: asyncio.subprocess.Process | None = None
        self._kept: socket.socket | None = None

    async def begin(self) -> None:
        words = ["sleep", "60"]
        with socket.create_connection(self.agent.getsockname()) if self._dials else socket.socket() as dialled:
            if self._dials:
                words = [*FIRST, *PERL, str(GUEST / "agent.pl"), str(dialled.fileno())]
            self._running = await asyncio.create_subprocess_exec(*words, pass_fds=[dialled.fileno()])
            # As on a tap: who is gone there says no farewell.
            self._kept = dialled.dup()
        self.over = asyncio.create_task(self._until_over(self._running))

    async def _until_over(self, running: asyncio.subprocess.Process) -> None:
        await running.wait()

    def break_down(self) -> None:
        assert self._running is not None
        self._running.kill()

    async def stop(self) -> None:
        if self._running is not None and self._running.returncode is None:
            self._running.kill()
        if self.over is not None:
            await asyncio.wait([self.over])
        if self._kept is not None:
            self._kept.close()

    def told(self) -> str:
        return "; its console says at the end:\nKernel panic"


@dataclass
class Machines:
    """Is the machines that cells have started; a `deaf` one never calls."""

    started: list[Standing] = field(default_factory=list)
    deaf: bool = False


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Have every machine that a cell starts be one that stands for it."""
    have_namespaces()
    machines = Machines()

    async def start(*_: Any) -> Standing:
        made = Standing(dials=not machines.deaf)
        machines.started.append(made)
        await made.begin()
        return made

    def words(argv: Sequence[str], _user: User, _limits: Limits) -> list[str]:
        return list(argv)  # test_argv.py has the rest, which only a guest's root can do

    monkeypatch.setattr(Machine, "start", start)
    monkeypatch.setattr(module, "step_argv", words)
    return machines

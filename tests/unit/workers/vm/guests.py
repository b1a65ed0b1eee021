"""Starts the guest's own programs without a guest: the agent as the first process of a pid namespace."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hermit_workers.vm import agent

GUEST = Path(agent.__file__).parent / "guest"
FIRST = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")
# As no guest does, which would take its time to load them.
PERL = ("perl", "-Mstrict", "-Mwarnings", "-M-warnings=exec")


def have_namespaces() -> None:
    """Skip a test where nobody may make the namespaces, or there is no Perl."""
    tried = shutil.which("perl") and subprocess.run([*FIRST, "true"], capture_output=True, check=False)
    if not tried or tried.returncode:
        pytest.skip("the agent needs perl, and a pid namespace to be the first of")


@asynccontextmanager
async def guest(*group: int, exceeded: Callable[[str], None] = lambda _limit: None) -> AsyncIterator[agent.Agent]:
    """Have an agent that has greeted; everything that it started ends with it. `group` are a control group's files."""
    have_namespaces()
    ours, theirs = socket.socketpair()
    with theirs:
        given = [theirs.fileno(), *group]
        words = [*FIRST, *PERL, str(GUEST / "agent.pl"), *map(str, given)]
        running = await asyncio.create_subprocess_exec(*words, pass_fds=given)
    made = agent.Agent(ours, exceeded)
    try:
        await made.greeting(20)
        yield made
    finally:
        await made.close()
        await asyncio.wait_for(running.wait(), 20)  # without its channel it ends by itself


@asynccontextmanager
async def liar() -> AsyncIterator[tuple[agent.Agent, socket.socket]]:
    """Have an agent that the test speaks for."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    made = agent.Agent(ours)
    with theirs:
        try:
            yield made, theirs
        finally:
            await made.close()


def open_descriptors() -> int:
    """Count what this process has open."""
    return len(os.listdir("/proc/self/fd"))

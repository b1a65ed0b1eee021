"""Reads what libvirt's client says of a machine; the client here says what the test wants."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence

import pytest

from hermit_workers.cell import CellError
from hermit_workers.vm import events as module
from hermit_workers.vm.events import Events

BEGINS = ("Started Booted", "Suspended Paused", "Resumed Unpaused")


async def listen(said: Sequence[str], *, then: str = "sleep 60") -> Events:
    lines = "".join(f"event 'lifecycle' for domain 'hermit-build': {event}\n" for event in said)
    client = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", f"printf %s {shlex.quote(lines)}; exec {then}", stdout=asyncio.subprocess.PIPE
    )
    return Events(client)


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ("Stopped Failed", "QEMU was killed, or has crashed"),
        ("Shutdown Finished after guest request", "the guest has switched it off, or has crashed"),
        ("Shutdown Finished after host request", "somebody on this machine has ended QEMU"),
        ("Suspended I/O Error", "this machine has no room on its disk for what it writes"),
        ("Stopped Shutdown", "libvirt says `Stopped Shutdown`"),
    ],
)
def test_the_end_of_a_machine_is_told_in_words_and_ends_the_client(last: str, told: str) -> None:
    async def scenario() -> None:
        events = await listen([*BEGINS, last, "Stopped Destroyed"])
        await events.listening()
        assert await asyncio.wait_for(events.over, 30) == told
        await events.stop()
        await events.stop()

    asyncio.run(scenario())


def test_a_machine_that_runs_is_not_over() -> None:
    async def scenario() -> None:
        events = await listen(BEGINS)
        await events.listening()
        assert not events.over.done()
        await events.stop()
        assert events.over.result() == ""

    asyncio.run(scenario())


def test_a_client_that_loses_its_libvirt_tells_nothing() -> None:
    async def scenario() -> None:
        events = await listen(BEGINS, then="true")
        assert await asyncio.wait_for(events.over, 30) == ""
        await events.listening()

    asyncio.run(scenario())


@pytest.mark.parametrize("then", ["true", f"{sys.executable} -c 'import time; time.sleep(60)'"])
def test_a_client_that_hears_nothing_of_the_machine_is_an_error(monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.2)

    async def scenario() -> None:
        events = await listen([], then=then)
        with pytest.raises(CellError, match="tells nothing of the VM"):
            await events.listening()
        await events.stop()

    asyncio.run(scenario())

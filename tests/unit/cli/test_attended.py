"""Sends signals to what is attended."""

from __future__ import annotations

import asyncio
import os
import signal

from hermit_cli.attended import attended
from hermit_cli.interrupts import raised
from hermit_cli.progress import Progress


def receive(*numbers: signal.Signals) -> list[int]:
    async def run() -> list[int]:
        received: list[int] = []
        with raised() as interrupts, attended(Progress("record", quiet=True), interrupts, received.append):
            for number in numbers:
                os.kill(os.getpid(), number)
                await asyncio.sleep(0.05)
        return received

    return asyncio.run(run())


def test_what_would_end_the_program_is_led_to_whoever_has_to_obey() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    assert receive(*numbers) == list(numbers)


def test_what_the_program_was_started_to_ignore_it_ignores() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert receive(signal.SIGHUP) == []
    finally:
        signal.signal(signal.SIGHUP, before)

"""Signals end a run in order while it has something to clean up, and are the system's business before and after."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from hermit_cli.interrupts import InterruptedRunError, Interrupts, raised
from hermit_proxy.errors import ExitCode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_error_that_names_it_and_afterwards_everything_is_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with raised(), pytest.raises(InterruptedRunError, match=number.name) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.exit_code is ExitCode.FAILED
    assert signal.getsignal(number) is before


def test_it_holds_again_after_somebody_else_had_the_signals() -> None:
    with raised() as interrupts:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        interrupts.again()
        with pytest.raises(InterruptedRunError):
            os.kill(os.getpid(), signal.SIGTERM)


def test_what_nohup_has_switched_off_stays_off() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised() as interrupts:
            interrupts.again()
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_comes_when_the_loop_is_at_its_end_is_held_and_raised_behind_it() -> None:
    led: list[int] = []

    async def run(interrupts: Interrupts) -> None:
        with interrupts.led(led.append):
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)

    with raised() as interrupts:
        asyncio.run(run(interrupts))
        with pytest.raises(InterruptedRunError, match="SIGTERM"):
            interrupts.again()
        interrupts.again()
    assert led == []


def test_what_the_loop_did_not_come_to_any_more_is_raised_behind_it() -> None:
    led: list[int] = []

    async def run(interrupts: Interrupts) -> None:
        with interrupts.led(led.append):
            os.kill(os.getpid(), signal.SIGINT)

    with raised() as interrupts:
        asyncio.run(run(interrupts))
        with pytest.raises(InterruptedRunError, match="SIGINT"):
            interrupts.again()
    assert led == []


def test_a_key_that_is_the_commands_is_the_systems_where_there_is_no_command() -> None:
    before = signal.getsignal(signal.SIGQUIT)

    async def run(interrupts: Interrupts) -> object:
        with interrupts.led(print):
            return signal.getsignal(signal.SIGQUIT)

    with raised() as interrupts:
        assert signal.getsignal(signal.SIGQUIT) is before
        assert asyncio.run(run(interrupts)) is not before
        interrupts.again()
        assert signal.getsignal(signal.SIGQUIT) is before

"""Signals end a run in order while it has something to clean up, and are the system's business before and after."""

from __future__ import annotations

import os
import signal

import pytest

from hermit_cli.interrupts import InterruptedRunError, raised
from hermit_proxy.errors import ExitCode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_error_that_names_it_and_afterwards_everything_is_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with raised(), pytest.raises(InterruptedRunError, match=number.name) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.exit_code is ExitCode.FAILED
    assert signal.getsignal(number) is before


def test_it_holds_again_after_somebody_else_had_the_signals() -> None:
    with raised() as again:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        again()
        with pytest.raises(InterruptedRunError):
            os.kill(os.getpid(), signal.SIGTERM)


def test_what_nohup_has_switched_off_stays_off() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised() as again:
            again()
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)

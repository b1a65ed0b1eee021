"""Configures the steps, right and wrong; tests/integration/master has them build."""

from __future__ import annotations

import pytest
from buildbot.config.errors import ConfigErrors, capture_config_errors
from buildbot.plugins import steps
from buildbot.process.properties import Property

from hermit_steps.buildbot.checkout import Checkout
from hermit_steps.buildbot.runspec import RunSpec


def test_buildbot_finds_the_steps_among_its_plugins() -> None:
    assert (steps.Checkout, steps.RunSpec) == (Checkout, RunSpec)


@pytest.mark.parametrize("mode", ["record", "hermetic", Property("mode")])  # type: ignore[no-untyped-call]  # Buildbot's
def test_a_mode_is_one_of_two_or_told_later(mode: object) -> None:
    with capture_config_errors(raise_on_error=True):
        RunSpec(mode=mode)


def test_another_mode_is_refused() -> None:
    with pytest.raises(ConfigErrors, match="record or hermetic"), capture_config_errors(raise_on_error=True):
        RunSpec(mode="replay")

"""Finds the place of a build on connections that have one, and that have none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hermit_proxy.errors import UsageError
from hermit_steps.buildbot.place import place_of


def test_a_step_on_another_worker_is_told_which_it_needs() -> None:
    place = object()
    assert place_of(SimpleNamespace(workplace=place)) is place
    with pytest.raises(UsageError, match="HermitLatentWorker"):
        place_of(SimpleNamespace())

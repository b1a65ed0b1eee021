"""Combines what specs ask for with what owners allow."""

from __future__ import annotations

import pytest

from hermit_cli.build.limits import limits_for
from hermit_steps.spec import Wanted
from hermit_workers.cell import Limits


def test_without_a_wish_a_build_gets_what_every_build_gets() -> None:
    assert limits_for(Wanted(), {}) == Limits()


@pytest.mark.parametrize(
    ("wanted", "most", "name", "limit"),
    [
        (Wanted(memory=1 << 30), {}, "memory", 1 << 30),
        (Wanted(memory=64 << 30), {}, "memory", 64 << 30),
        (Wanted(memory=64 << 30), {"memory": 2 << 30}, "memory", 2 << 30),
        (Wanted(memory=1 << 30), {"memory": 2 << 30}, "memory", 1 << 30),
        (Wanted(), {"processes": 10}, "processes", 10),
        (Wanted(seconds=1e9), {"time": 60.0}, "seconds", 60.0),
        (Wanted(), {"disk": 100.0}, "disk", 100),
    ],
)
def test_a_spec_asks_and_the_owner_has_the_last_word(
    wanted: Wanted, most: dict[str, float], name: str, limit: float
) -> None:
    assert getattr(limits_for(wanted, most), name) == limit

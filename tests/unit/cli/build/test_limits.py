"""Combines what specs ask for with what owners allow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermit_cli.build.limits import limits_for, told_of_limits
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
        (Wanted(disk=64 << 30), {"disk": 1 << 30}, "disk", 1 << 30),
        (Wanted(processes=9999), {"processes": 10}, "processes", 10),
        (Wanted(output=1 << 40), {"output": 1 << 20}, "output", 1 << 20),
        (Wanted(artifacts=1 << 40), {"artifacts": 1 << 20}, "artifacts", 1 << 20),
    ],
)
def test_a_spec_asks_and_the_owner_has_the_last_word(
    wanted: Wanted, most: dict[str, float], name: str, limit: float
) -> None:
    assert getattr(limits_for(wanted, most), name) == limit


def test_what_a_build_gets_without_a_wish_may_be_its_cells_own() -> None:
    machine = replace(Limits(), memory=4 << 30)
    assert limits_for(Wanted(), {}, machine) == machine
    assert limits_for(Wanted(), {"memory": 1 << 30}, machine).memory == 1 << 30
    assert limits_for(Wanted(memory=40 << 30), {}, machine).memory == 40 << 30


def test_who_gets_less_than_asked_for_is_told() -> None:
    wanted = Wanted(memory=64 << 30, processes=10, disk=2 << 30, seconds=7200.0)
    told = told_of_limits(wanted, {"memory": 2 << 30, "processes": 4096, "time": 60.0, "output": 1 << 20})
    assert told == [
        "limits.memory: 2.0 GiB, not the 64.0 GiB that the spec asks for: your settings allow no more",
        "limits.time: 1:00, not the 2:00:00 that the spec asks for: your settings allow no more",
    ]
    assert told_of_limits(wanted, {}) == []

"""Combines what builds ask for with what they get anyway and what owners allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hermit_proxy.settings import VmSettings
from hermit_workers.cell import Limits
from hermit_workers.limits import held, owners, usual


@pytest.mark.parametrize(
    ("host", "vms", "memory"),
    [(64, None, 8), (16, None, 8), (8, None, 4), (64, 6, 6), (8, 6, 4)],
)
def test_a_vm_without_a_wish_leaves_half_of_the_machine_to_others(
    monkeypatch: pytest.MonkeyPatch, host: int, vms: int | None, memory: int
) -> None:
    pages = {"SC_PHYS_PAGES": (host << 30) // 4096 + 5, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    allowed = VmSettings(memory=None if vms is None else vms << 30)
    assert usual("sandbox", allowed) == Limits()
    assert usual("vm", allowed) == replace(Limits(), memory=memory << 30)


def test_a_machine_has_whole_mebibytes() -> None:
    assert usual("vm", VmSettings(memory=(300 << 20) + 5)).memory == 300 << 20


def test_the_settings_time_is_the_limits_seconds() -> None:
    assert owners({"time": 60.0, "disk": 5}) == {"seconds": 60.0, "disk": 5}


@pytest.mark.parametrize(
    ("asked", "most", "changed"),
    [
        ({}, {}, {}),
        ({"memory": 64 << 30}, {}, {"memory": 64 << 30}),
        ({"memory": 64 << 30}, {"memory": 2 << 30}, {"memory": 2 << 30}),
        ({"memory": 1 << 30}, {"memory": 2 << 30}, {"memory": 1 << 30}),
        ({}, {"processes": 10, "time": 0.5}, {"processes": 10, "seconds": 0.5}),
        ({"seconds": 1e9}, {"time": 60.0}, {"seconds": 60.0}),
    ],
)
def test_a_build_gets_what_it_asks_for_as_far_as_the_owner_allows_it(
    asked: dict[str, float], most: dict[str, float], changed: dict[str, Any]
) -> None:
    without = Limits(memory=4 << 30)
    assert held(asked, most, without) == replace(without, **changed)


def test_a_count_is_whole() -> None:
    limits = held({"disk": 1e9}, {"processes": 10.0}, Limits())
    assert [type(limits.disk), type(limits.processes), type(limits.seconds)] == [int, int, float]

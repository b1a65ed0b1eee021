"""Chooses a build's limits: what it asks for, else what every build gets, and never past the owner's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hermit_proxy.settings import VmSettings
from hermit_workers.cell import Limits

_MIB = 1 << 20


def usual(kind: str, vm: VmSettings) -> Limits:
    """Give what a build gets whose spec says nothing.

    A VM's memory is set aside as a whole: it has at most half of the machine's, so that it leaves room for others.
    """
    stock = Limits()
    if kind == "sandbox":
        return stock
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    memory = min(stock.memory, half, half if vm.memory is None else vm.memory)
    return replace(stock, memory=memory - memory % _MIB)


def owners(most: Mapping[str, float]) -> dict[str, float]:
    """Give the settings' `limits` by the names of `Limits`."""
    return {"seconds" if name == "time" else name: value for name, value in most.items()}


def held(asked: Mapping[str, float], most: Mapping[str, float], without: Limits) -> Limits:
    """Give the limits of a build; `most` are the settings' `limits`, which hold whatever it asks for.

    `asked` are values by the names of `Limits`, `without` is what it gets where it asks for nothing.
    """
    limits = replace(without, **{name: _typed(name, value) for name, value in asked.items()})
    lowered = {name: min(value, getattr(limits, name)) for name, value in owners(most).items()}
    return replace(limits, **{name: _typed(name, value) for name, value in lowered.items()})


def _typed(name: str, value: float) -> Any:
    return value if name == "seconds" else int(value)

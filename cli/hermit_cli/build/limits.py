"""Combines what a spec asks of the machine with what its owner allows, and says where that is less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hermit_cli.output import bytes_as_text, time_as_text
from hermit_steps.spec import Wanted
from hermit_workers.cell import Limits
from hermit_workers.limits import held, owners

_STOCK = Limits()


def limits_for(wanted: Wanted, most: Mapping[str, float], without: Limits = _STOCK) -> Limits:
    """Give the limits of a build; `most` are the settings' `limits`, which hold whatever a spec says.

    `without` is what it gets where the spec says nothing.
    """
    return held(_asked(wanted), most, without)


def told_of_limits(wanted: Wanted, most: Mapping[str, float]) -> list[str]:
    """Say where a build gets less than its spec asks for; one that fails for it should not be a riddle."""
    allowed = owners(most)
    return [
        f"limits.{'time' if name == 'seconds' else name}: {_as_text(name, allowed[name])},"
        f" not the {_as_text(name, value)} that the spec asks for: your settings allow no more"
        for name, value in _asked(wanted).items()
        if value > allowed.get(name, value)
    ]


def _asked(wanted: Wanted) -> dict[str, Any]:
    return {name: value for name, value in asdict(wanted).items() if value is not None}


def _as_text(name: str, value: float) -> str:
    if name == "seconds":
        return time_as_text(value)
    return f"{value:g}" if name == "processes" else bytes_as_text(value)

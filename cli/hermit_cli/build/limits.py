"""Chooses a build's limits: what its spec asks for, else what every build gets, and never past the owner's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from hermit_cli.output import bytes_as_text, time_as_text
from hermit_steps.spec import Wanted
from hermit_workers.cell import Limits


def limits_for(wanted: Wanted, most: Mapping[str, float]) -> Limits:
    """Give the limits of a build; `most` are the settings' `limits`, which hold whatever a spec says."""
    asked = _asked(wanted)
    limits = replace(Limits(), **asked)
    lowered = {name: min(value, getattr(limits, name)) for name, value in _owners(most).items()}
    return replace(limits, **{name: value if name == "seconds" else int(value) for name, value in lowered.items()})


def told_of_limits(wanted: Wanted, most: Mapping[str, float]) -> list[str]:
    """Say where a build gets less than its spec asks for; one that fails for it should not be a riddle."""
    owners = _owners(most)
    return [
        f"limits.{'time' if name == 'seconds' else name}: {_as_text(name, owners[name])},"
        f" not the {_as_text(name, value)} that the spec asks for: your settings allow no more"
        for name, value in _asked(wanted).items()
        if value > owners.get(name, value)
    ]


def _asked(wanted: Wanted) -> dict[str, Any]:
    return {name: value for name, value in asdict(wanted).items() if value is not None}


def _owners(most: Mapping[str, float]) -> dict[str, float]:
    return {"seconds" if name == "time" else name: value for name, value in most.items()}


def _as_text(name: str, value: float) -> str:
    if name == "seconds":
        return time_as_text(value)
    return f"{value:g}" if name == "processes" else bytes_as_text(value)

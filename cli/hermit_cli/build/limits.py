"""Chooses a build's limits: what its spec asks for, else what every build gets, and never past the owner's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from hermit_steps.spec import Wanted
from hermit_workers.cell import Limits


def limits_for(wanted: Wanted, most: Mapping[str, float]) -> Limits:
    """Give the limits of a build; `most` are the settings' `limits`, which hold whatever a spec says."""
    asked = {name: value for name, value in asdict(wanted).items() if value is not None}
    limits = replace(Limits(), **asked)
    owner = {"seconds" if name == "time" else name: value for name, value in most.items()}
    lowered = {name: min(value, getattr(limits, name)) for name, value in owner.items()}
    return replace(limits, **{name: value if name == "seconds" else int(value) for name, value in lowered.items()})

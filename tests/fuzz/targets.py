"""Lists the fuzz targets; importing it imports all that is fuzzed."""

from __future__ import annotations

from tests.fuzz import (
    answers,
    artifacts,
    files,
    guests,
    heads,
    hooks,
    intake,
    messages,
    names,
    patterns,
    replay,
    snapshots,
    spec,
)
from tests.fuzz.case import Case

CASES: dict[str, Case] = {
    case.name: case
    for module in (
        files,
        snapshots,
        names,
        patterns,
        messages,
        heads,
        answers,
        replay,
        intake,
        spec,
        artifacts,
        hooks,
        guests,
    )
    for case in module.CASES
}

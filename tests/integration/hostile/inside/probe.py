"""Makes every attempt wherever it runs, and prints what came of each as one JSON object."""

from __future__ import annotations

import json

from tests.integration.hostile.inside import calls, network, others
from tests.integration.hostile.inside.attempt import ATTEMPTS, tried

_SUBJECTS = (calls, network, others)


def main(path: str, where: str) -> None:
    """Take the task's file, and the control whose attempts are made: `host`, `open`, or `cell` for all."""
    with open(path) as file:
        task = json.load(file)
    if where == "open":
        network.loopback_up()
    names = [name for name, control in wanted().items() if where in {"cell", control}]
    print(json.dumps({name: tried(name, task) for name in names}))  # noqa: T201  the report


def wanted(prefix: str = "") -> dict[str, str]:
    """Give the attempts whose name begins so, each with its control."""
    return {name: control for name, (control, _) in ATTEMPTS.items() if name.startswith(f"{prefix} " if prefix else "")}

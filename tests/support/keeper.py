"""Finds the process that holds a cell's namespaces, so that a test can end it and nobody else."""

from __future__ import annotations

import time
from pathlib import Path


def holder_of(keeper: int) -> int:
    """Give the child of a keeper that is the first of a pid namespace; the one that made it may still be there."""
    for _ in range(1000):
        for child in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            if [line for line in lines if line.startswith("NSpid:") and line.split()[-1] == "1"]:
                return int(child)
        time.sleep(0.01)
    raise AssertionError(f"{keeper} keeps no holder")

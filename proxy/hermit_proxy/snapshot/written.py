"""Says what became of a snapshot; apart from what writes one, which imports much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Recorded:
    """Is what became of the snapshot: `difference` is data and `text` words for it; None where nothing was written."""

    network: Path
    changed: bool
    difference: dict[str, Any]
    text: str
    conflicts: tuple[str, ...]
    pruned: int

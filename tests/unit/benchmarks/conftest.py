"""Lets the tests of the benchmarks import them as they import each other: by their names alone."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))

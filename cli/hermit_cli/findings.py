"""Holds what the doctor finds, apart from how it is found and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """Is how bad a finding is: `warn` costs comfort, `fail` means that no run works."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """Is one thing that was tried; `mend` is the command or the edit that would make it ok."""

    name: str
    level: Level
    detail: str
    mend: str | None = None


def ok(name: str, detail: str) -> Finding:
    """Say that something works."""
    return Finding(name, Level.OK, detail)


def warn(name: str, detail: str, mend: str | None = None) -> Finding:
    """Say that something is missing which some runs miss."""
    return Finding(name, Level.WARN, detail, mend)


def fail(name: str, detail: str, mend: str | None = None) -> Finding:
    """Say that something is missing which every run needs."""
    return Finding(name, Level.FAIL, detail, mend)

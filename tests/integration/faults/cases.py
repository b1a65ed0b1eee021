"""Is the table of faults: where a run is, what hits it, and what its user sees then; docs/faults.md is made of it."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """Is a place in a run where it can be made to stand still; `how` says by what, `mode` is the run's."""

    name: str
    mode: str
    how: str


@dataclass(frozen=True, slots=True)
class Case:
    """Is a signal to a victim at a stage: the exit code as a shell counts it, and a piece of what is said."""

    stage: Stage
    victim: str
    signal: signal.Signals
    code: int
    says: str

    @property
    def id(self) -> str:
        """Name the case as pytest shall."""
        return f"{self.stage.name}-{self.stage.mode}-{self.victim}-{self.signal.name}".replace(" ", "-")


STARTING = Stage("starting", "record", "the store's server takes the connection and says nothing")
STARTING_HERMETIC = Stage("starting", "hermetic", "the store's server takes the connection and says nothing")
CONNECTING = Stage("connecting", "record", "the origin takes the connection and says nothing")
RECORDING = Stage("recording a body", "record", "the origin stops after 3 MiB")
COMMITTING = Stage("committing a body", "record", "another process holds the store's lock")
REPLAYING = Stage("replaying a body", "hermetic", "the client reads a thousand bytes a second")
WRITING = Stage("about to write the snapshot", "record", "another process holds the lock of `.hermit`")
REPORTING = Stage("telling the result", "hermetic", "nobody reads stderr, which is a full pipe")

_BUSY = (STARTING, STARTING_HERMETIC, CONNECTING, RECORDING, COMMITTING, REPLAYING)
_KILL, _TERM, _INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT


def _busy(stage: Stage) -> list[Case]:
    return [
        Case(stage, "proxy", _KILL, 4, "the proxy was killed by SIGKILL"),
        Case(stage, "proxy", _TERM, 4, "the proxy was killed by SIGTERM"),
        Case(stage, "hermit", _KILL, 137, ""),
        Case(stage, "hermit", _TERM, 1, "interrupted by SIGTERM"),
        Case(stage, "hermit", _INT, 1, "interrupted by SIGINT"),
        Case(stage, "bubblewrap", _KILL, 1, "the command ended with status 137 (SIGKILL)"),
        Case(stage, "command", _KILL, 1, "the command ended with status 137 (SIGKILL)"),
    ]


CASES: list[Case] = [
    *(case for stage in _BUSY for case in _busy(stage)),
    Case(RECORDING, "proxy", _INT, 4, "the proxy was killed by SIGINT"),
    Case(REPLAYING, "proxy", _INT, 4, "the proxy was killed by SIGINT"),
    Case(RECORDING, "init", _KILL, 1, "the command ended with status 137 (SIGKILL)"),
    Case(REPLAYING, "init", _KILL, 1, "the command ended with status 137 (SIGKILL)"),
    Case(WRITING, "hermit", _KILL, 137, ""),
    Case(WRITING, "hermit", _TERM, 1, "interrupted by SIGTERM"),
    Case(WRITING, "hermit", _INT, 1, "interrupted by SIGINT"),
    Case(REPORTING, "hermit", _KILL, 137, ""),
    Case(REPORTING, "hermit", _TERM, 143, ""),
    Case(REPORTING, "hermit", _INT, 1, ""),
]

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


@dataclass(frozen=True, slots=True)
class Fault:
    """Is something that a run needs and does not get: `what` happens, the exit code, a piece of what is said."""

    what: str
    code: int
    says: str
    test: str


_FAULTS = [
    ("store full", "the store's disk is full", 4, "no room for", "a_store_without_room"),
    ("run folder full", "the disk of the log is full", 4, "cannot be written", "a_run_folder_without_room"),
    ("no room for a run folder", "that disk is full before", 4, "No space", "a_machine_without_room_for_a_run_folder"),
    ("project full", "the project's disk is full", 4, "No space left on device", "a_project_without_room"),
    ("project read-only", "the project is read-only", 4, "Read-only file system", "a_project_that_is_read_only"),
    ("bit flipped", "a bit flips in the store", 4, "corrupt", "a_bit_that_flips_in_the_store"),
    ("bit flipped, the run after", "the same, the run after", 3, "store fill", "a_bit_that_flips_in_the_store"),
    ("Redis gone while recording", "Redis goes away", 4, "not answer", "redis_that_goes_in_the_middle_of_a_recording"),
    ("Redis gone while replaying", "Redis goes away", 4, "not answer", "redis_that_goes_in_the_middle_of_a_replay"),
    ("no Redis", "Redis is not there", 4, "does not answer", "redis_that_is_not_there"),
    ("store of another owner", "the store is another user's", 4, "belongs to", "a_store_of_another_owner"),
    ("no bubblewrap", "there is no bubblewrap", 4, "bubblewrap is not installed", "no_bubblewrap"),
    ("no user namespaces", "there are no user namespaces", 4, "made no sandbox", "no_user_namespaces"),
]
FAULTS = {name: Fault(what, code, says, f"test_{test}") for name, what, code, says, test in _FAULTS}

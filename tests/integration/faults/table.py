"""Writes docs/faults.md from the cases that the tests run: `python -m tests.integration.faults.table`."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.integration.faults.cases import CASES, FAULTS, Case, Stage

TABLE = Path(__file__).resolve().parents[3] / "docs/faults.md"
_HEAD = """# What happens when something breaks

Whatever is killed or missing, whenever: the project's tree is as it was or as it was to be, the store holds no body
that is not what its name says, no process is left, and the next run works. The tests below hold each line to that, to
the exit code and to the words. `python -m tests.integration.faults.table` writes this page from their cases.

Exit codes: 1 the command failed or the run was interrupted, 3 not hermetic, 4 this machine or a service failed; 137 and
143 are what a shell shows for a program that was killed and had no say.

## Killed or interrupted

A run is held at a stage by a real condition, then its part gets the signal. *hermit* is the command that the user
started, *proxy* its recorder or replayer, *bubblewrap* the sandbox, *init* the sandbox's first process, *command* what
runs in it. What a killed `hermit` leaves in its run's folder goes with the next run, an unfinished body in `tmp/` of
the store with `hermit store gc`.

| stage | mode | held by | victim | signal | what the user sees | exit code | test |
|---|---|---|---|---|---|---|---|
"""
_FAULTS = """
## Missing or full

| what happens | what the user sees | exit code | test |
|---|---|---|---|
"""
_TAIL = """
## At every step

`tests/integration/faults/test_anywhere.py` kills a recording at the instant when it exchanges the snapshot. With
`script/test --all` it does so at each system call that writes the snapshot (strace injects the signal), has each of
them fail with an input/output error, leaves the store locked for good (exit code 4 after 15 seconds), and hits 120
runs at moments by chance.
"""
_NOTHING = {
    signal.SIGKILL: "`Killed`, by the shell",
    signal.SIGTERM: "`Terminated`, by the shell",
    signal.SIGINT: "nothing",
}


def render() -> str:
    """Give the text of the page."""
    lines = [_row(case) for case in CASES]
    faults = [
        f"| {fault.what} | {fault.says} | {fault.code} | `test_machine.py::{fault.test}` |\n"
        for fault in FAULTS.values()
    ]
    return "".join([_HEAD, *lines, _FAULTS, *faults, _TAIL])


def test_of(stage: Stage) -> str:
    """Name the test that runs a stage's cases."""
    return "test_a_run_that_is_hit_while_it_starts" if stage.name == "starting" else "test_a_run_that_is_hit"


def _row(case: Case) -> str:
    stage, sees = case.stage, case.says or _NOTHING[case.signal]
    test = f"`test_killed.py::{test_of(stage)}[{case.id}]`"
    cells = (stage.name, stage.mode, stage.how, case.victim, case.signal.name, sees, case.code, test)
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    TABLE.write_text(render())

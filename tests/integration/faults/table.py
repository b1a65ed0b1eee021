"""Writes docs/faults.md from the cases that the tests run: `python -m tests.integration.faults.table`."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.integration.faults import buildcases
from tests.integration.faults.cases import CASES, FAULTS, Case, Fault, Stage
from tests.integration.vm.faults import page as vms

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
_BUILDS = """
## Builds: killed or interrupted

The same for `hermit build`, over a tiny image; image tree and store are read again byte by byte each time. *keeper* is
the child of `hermit` that outlives it and removes the cell's folder, *holder* the process that holds the cell's
namespaces and mounts, *bubblewrap* the one around a step, *init* the first process of the cell, *command* the step (or
the cell's tar), *counter* the process that counts what is written, *taker* the one that hands artifacts out.

A killed `hermit` takes its proxy and its cell along: the holder ends every process and removes the build's files before
it ends. What stays is small: its run's folder (log, certificate, the proxy's settings, in the first second the key of
the run's own authority, mode 0600), its control groups, an unfinished folder for artifacts beside `--out`
(`.out.*.new~`), and an unfinished body in `tmp/` of the store. The next build takes all of it but the last, which goes
with `hermit store gc`. Where holder and hermit are killed together the cell's files stay, too, which belong to mapped
users: the next build removes them (`test_builds_left.py`, as root and as an ordinary user).

CI runs a row for each stage and each victim; `script/test --all` runs them all.

| stage | mode | held by | victim | signal | what the user sees | exit code | test |
|---|---|---|---|---|---|---|---|
"""
_BUILD_FAULTS = """
## Builds: full

| what happens | what the user sees | exit code | test |
|---|---|---|---|
"""
_MANY = """
## Builds: many

`tests/integration/faults/test_builds_many.py` builds 10 times in a row and 3 at once (`script/test --all`: 100 and 8),
and finds processes, namespaces, mounts, descriptors, control groups and files as they were before, and at most 20 kept
logs.
"""
_NOTHING = {
    (signal.SIGKILL, 137): "`Killed`, by the shell",
    (signal.SIGTERM, 143): "`Terminated`, by the shell",
    (signal.SIGINT, 1): "nothing",
}


def render() -> str:
    """Give the text of the page."""
    lines = [_row(case, f"test_killed.py::{test_of(case.stage)}") for case in CASES]
    builds = [_row(case, f"test_builds_killed.py::{build_test_of(case.stage)}") for case in buildcases.BUILD_CASES]
    faults = [_fault(fault, "test_machine.py") for fault in FAULTS.values()]
    build_faults = [_fault(fault, "test_builds_machine.py") for fault in buildcases.BUILD_FAULTS.values()]
    of_builds = [_BUILDS, *builds, _BUILD_FAULTS, *build_faults, _MANY]
    return "".join([_HEAD, *lines, _FAULTS, *faults, _TAIL, *of_builds, vms.section()])


def test_of(stage: Stage) -> str:
    """Name the test that runs a stage's cases."""
    return "test_a_run_that_is_hit_while_it_starts" if stage.name == "starting" else "test_a_run_that_is_hit"


def build_test_of(stage: Stage) -> str:
    """Name the test that runs a build stage's cases."""
    return "test_a_build_that_is_hit" + ("_while_it_starts" if stage is buildcases.STARTING else "")


def _row(case: Case, test: str) -> str:
    stage, sees = case.stage, case.says or _NOTHING.get((case.signal, case.code), "nothing of it")
    cells = (stage.name, stage.mode, stage.how, case.victim, case.signal.name, sees, case.code, f"`{test}[{case.id}]`")
    return f"| {' | '.join(map(str, cells))} |\n"


def _fault(fault: Fault, module: str) -> str:
    return f"| {fault.what} | {fault.says} | {fault.code} | `{module}::{fault.test}` |\n"


if __name__ == "__main__":
    TABLE.write_text(render())

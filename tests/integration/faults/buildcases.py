"""Is the table of faults of `hermit build`: where a build is, what hits it, and what its user sees; see cases.py."""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM

from tests.integration.faults.cases import Case, Fault, Stage

WAITING = Stage("waiting for the image", "record", "another process makes the same image")
STARTING = Stage("starting", "record", "the store's server takes the connection and says nothing")
OPENING = Stage("making the cell", "record", "bubblewrap waits before it starts the cell's init")
PUTTING = Stage("putting the source in", "record", "the cell's tar does not end")
ASKING = Stage("in a step that asks", "record", "the origin takes the connection and says nothing")
RECORDING = Stage("in a step that fetches", "record", "the origin stops after 3 MiB")
REPLAYED = Stage("in a step that has fetched", "hermetic", "the step sleeps")
OFFLINE = Stage("in a step without network", "record", "the step sleeps")
BETWEEN = Stage("between two steps", "record", "the proxy is stopped (SIGSTOP)")
TAKING = Stage("taking the artifacts", "record", "the taker is stopped (SIGSTOP) among 8,000 files")
KEEPING = Stage("keeping the artifacts", "record", "another process holds the store's lock")
REMOVING = Stage("removing the cell", "hermetic", "the rm that removes its files waits")
WRITING = Stage("about to write the snapshot", "record", "another process holds the lock of `.hermit`")
REPORTING = Stage("telling the result", "hermetic", "nobody reads stdout, which is a full pipe (--json)")

_PROXY = (4, "the proxy was killed by SIGKILL")
_GONE = (4, "the process that holds the cell's namespaces has gone")
_ENDED = (1, "ended with status 137")
_PUT = (4, "files cannot be put into the cell: tar ended with 137")
_KILLED = (137, "")
_TAKERS = ("keeper", "holder", "taker")


def _hermit(stage: Stage) -> list[Case]:
    return [Case(stage, "hermit", SIGKILL, *_KILLED), Case(stage, "hermit", SIGTERM, 1, "interrupted by SIGTERM")]


def _with_cell(stage: Stage) -> list[Case]:
    return [
        *_hermit(stage),
        Case(stage, "proxy", SIGKILL, *_PROXY),
        Case(stage, "keeper", SIGKILL, *_GONE),
        Case(stage, "holder", SIGKILL, *_GONE),
    ]


def _in_step(stage: Stage) -> list[Case]:
    return [
        *_with_cell(stage),
        Case(stage, "hermit", SIGINT, 1, "interrupted by SIGINT"),
        Case(stage, "init", SIGKILL, *_ENDED),
        Case(stage, "bubblewrap", SIGKILL, *_ENDED),
        Case(stage, "command", SIGKILL, *_ENDED),
        Case(stage, "counter", SIGKILL, 1, "the process that counts what the build writes was killed"),
    ]


BUILD_CASES: list[Case] = [
    *_hermit(WAITING),
    *_with_cell(STARTING),
    *_with_cell(OPENING),
    *_with_cell(PUTTING),
    *(Case(PUTTING, victim, SIGKILL, *_PUT) for victim in ("init", "bubblewrap", "command")),
    *_hermit(ASKING),
    Case(ASKING, "proxy", SIGKILL, *_PROXY),
    Case(ASKING, "holder", SIGKILL, *_GONE),
    *_in_step(RECORDING),
    *_in_step(REPLAYED),
    *_in_step(OFFLINE),
    *_with_cell(BETWEEN),
    *_hermit(TAKING),
    *(Case(TAKING, victim, SIGKILL, 4, "the process that takes artifacts has gone") for victim in _TAKERS),
    *_hermit(KEEPING),
    *_hermit(REMOVING),
    *(Case(REMOVING, victim, SIGKILL, 0, "") for victim in ("keeper", "holder")),
    *_hermit(WRITING),
    Case(REPORTING, "hermit", SIGKILL, *_KILLED),
    Case(REPORTING, "hermit", SIGTERM, 143, ""),
    Case(REPORTING, "hermit", SIGINT, 1, ""),
]
# What CI runs: each stage, each victim; `script/test --all` runs the rest.
_ALWAYS = {
    (STARTING, "hermit"),
    (OPENING, "holder"),
    (PUTTING, "hermit"),
    (RECORDING, "proxy"),
    (RECORDING, "command"),
    (REPLAYED, "holder"),
    (REPLAYED, "hermit"),
    (OFFLINE, "init"),
    (OFFLINE, "counter"),
    (OFFLINE, "bubblewrap"),
    (BETWEEN, "hermit"),
    (TAKING, "taker"),
    (KEEPING, "hermit"),
    (REMOVING, "keeper"),
    (WRITING, "hermit"),
}


def is_long(case: Case) -> bool:
    """Tell whether a case waits for the long tests."""
    return (case.stage, case.victim) not in _ALWAYS or case.signal is not SIGKILL


_FAULTS = [
    (
        "no room for a run folder",
        "the state folder's disk is full",
        4,
        "No space left on device",
        "a_state_folder_without_room_for_a_run",
    ),
    (
        "little room for the cell",
        "that disk has less than 1 GiB left",
        1,
        "and a build leaves it 1 GiB",
        "a_state_folder_with_less_room_than_a_build_has_to_leave",
    ),
    (
        "disk of the cell filled",
        "a step fills that disk",
        1,
        "and a build leaves it 1 GiB",
        "a_step_that_fills_the_disk_of_the_cell",
    ),
    ("store full", "the store's disk is full", 4, "no room for", "a_store_without_room_for_a_body"),
    (
        "store full of artifacts",
        "the same, when artifacts are kept",
        4,
        "no room for",
        "a_store_without_room_for_an_artifact",
    ),
    ("--out full", "the disk of `--out` is full", 4, "cannot write artifacts", "a_folder_for_artifacts_without_room"),
    (
        "library full",
        "the library's disk is full (`hermit image import`)",
        4,
        "No space left on device",
        "a_library_without_room_for_an_image_that_is_brought",
    ),
]
BUILD_FAULTS = {name: Fault(what, code, says, f"test_{test}") for name, what, code, says, test in _FAULTS}

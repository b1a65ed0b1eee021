"""Reads reports as people and programs do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hermit_cli.interrupts import InterruptedRunError
from hermit_cli.summary import RunReport, note_on_recording
from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_proxy.policy import Mode
from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.run.troubles import troubles_of
from hermit_proxy.snapshot.written import Recorded

GOOD = RunReport(
    mode=Mode.RECORD,
    command=("make", "all"),
    status=0,
    seconds=1.5,
    counts={"requests": 3, "recorded": 3, "refused": 0, "failed": 0, "broken": 0, "bytes": 2048},
    troubles=(),
    log=Path("/state/requests.jsonl"),
)
CHANGED = Recorded(Path("/p/.hermit/network"), True, {"added": ["x"]}, "Added (1)\n  x\n", (), 0)


def event(reason: str, *, broken: bool = True, url: str = "https://example.org/a") -> RequestEvent:
    return RequestEvent(0, "GET", url, Outcome.REFUSED, 403, reason=reason, hint="a rule", broken=broken)


CORRUPT = replace(event("the body is corrupt"), outcome=Outcome.FAILED, hint="hermit store fill")


def refused(reason: str, mode: Mode = Mode.RECORD) -> RunReport:
    return replace(GOOD, mode=mode, counts={**GOOD.counts, "broken": 1}, troubles=troubles_of([event(reason)]))


def test_a_store_that_fails_is_the_machines_fault_unless_something_was_refused_besides() -> None:
    failed = replace(event("the store: a body is corrupt"), outcome=Outcome.FAILED)
    counts = {**GOOD.counts, "broken": 1}
    alone = replace(GOOD, counts=counts, troubles=troubles_of([failed]))
    assert alone.exit_code is ExitCode.MACHINE
    assert replace(alone, troubles=troubles_of([failed, event("no rule")])).exit_code is ExitCode.NOT_HERMETIC


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, ExitCode.DONE),
        ({"status": 7}, ExitCode.FAILED),
        ({"signal": "SIGTERM"}, ExitCode.FAILED),
        ({"counts": {**GOOD.counts, "broken": 1}}, ExitCode.NOT_HERMETIC),
        ({"counts": {**GOOD.counts, "broken": 1}, "status": 7}, ExitCode.NOT_HERMETIC),
        ({"counts": {**GOOD.counts, "refused": 1}}, ExitCode.DONE),
        ({"counts": {**GOOD.counts, "failed": 1}}, ExitCode.DONE),
    ],
)
def test_a_broken_refusal_outweighs_the_commands_own_opinion(changes: dict[str, Any], code: ExitCode) -> None:
    assert replace(GOOD, **changes).exit_code is code


@pytest.mark.parametrize(
    ("report", "step"),
    [
        (GOOD, None),
        (replace(GOOD, recorded=CHANGED), "commit .hermit, then: hermit run --mode hermetic -- make all"),
        (
            replace(GOOD, recorded=CHANGED, own=False, options=("--snapshot", "/a b", "--rules", "/r")),
            "hermit run --mode hermetic --snapshot '/a b' --rules /r -- make all",
        ),
        (replace(refused("gone", Mode.HERMETIC), options=("--rules", "/r")), "hermit run --mode record --rules /r --"),
        (
            replace(
                refused("gone", Mode.HERMETIC),
                troubles=troubles_of([event("the snapshot does not have it"), CORRUPT]),
            ),
            "hermit store fill",
        ),
        (refused("no rule admits it"), "hermit rules suggest"),
        (refused("its address is private"), "a rule"),
        (refused("the snapshot does not have it", Mode.HERMETIC), "hermit run --mode record -- make all"),
        (refused("the snapshot has it, but nobody observed that answer", Mode.HERMETIC), "hermit store fill"),
    ],
)
def test_the_next_step_is_named(report: RunReport, step: str | None) -> None:
    found = report.next_step()
    assert found == step or (step is not None and found is not None and found.startswith(step))


FAILURES = [
    (HermitError("the disk"), {}, ExitCode.MACHINE),
    (UsageError("a strange file"), {}, ExitCode.USAGE),
    (HermitError("the disk"), {"broken": 1}, ExitCode.MACHINE),
    (InterruptedRunError("now"), {}, ExitCode.FAILED),
    (InterruptedRunError("now"), {"broken": 1}, ExitCode.NOT_HERMETIC),
]


@pytest.mark.parametrize(("failure", "counts", "code"), FAILURES)
def test_what_went_wrong_after_the_command_is_told_with_the_rest(
    failure: HermitError, counts: dict[str, int], code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    failure.hint = "mend it"
    report = replace(GOOD, counts={**GOOD.counts, **counts}, failure=failure)
    assert report.exit_code is code
    report.say()
    said = capsys.readouterr().err
    assert f"  {failure}\n      mend it\n" in said
    assert "3 requests" in said
    assert "  log: /state/requests.jsonl" in said
    fields = report.to_json()
    assert (fields["error"], fields["hint"], fields["exit_code"]) == (str(failure), "mend it", int(code))
    assert "error" not in GOOD.to_json()


def test_a_refused_request_is_told_by_the_exit_code_whatever_else_went_wrong() -> None:
    refused = troubles_of([event("no rule admits it")])
    report = replace(GOOD, counts={**GOOD.counts, "broken": 1}, troubles=refused, failure=HermitError("the disk"))
    assert report.exit_code is ExitCode.NOT_HERMETIC


@pytest.mark.parametrize(("kinds", "more"), [(11, "… and 1 more kind of request,"), (13, "… and 3 more kinds of")])
def test_many_kinds_of_refusals_are_cut_short(kinds: int, more: str, capsys: pytest.CaptureFixture[str]) -> None:
    events = [event("no rule admits it", url=f"https://example.org/{number}") for number in range(kinds)]
    replace(GOOD, counts={**GOOD.counts, "requests": 1}, troubles=troubles_of(events)).say()
    said = capsys.readouterr().err
    assert more in said
    assert "; 1 request, 3 recorded" in said


def test_people_read_what_happened_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    replace(GOOD, recorded=CHANGED).say()
    assert capsys.readouterr().err.splitlines() == [
        "hermit record: done in 1.5 s; 3 requests, 3 recorded, 2.0 KiB",
        "  the snapshot has changed: /p/.hermit/network",
        "    Added (1)",
        "      x",
        "  log: /state/requests.jsonl",
        "  next: commit .hermit, then: hermit run --mode hermetic -- make all",
    ]
    replace(refused("no rule admits it"), status=143).say()
    said = capsys.readouterr().err
    assert "NOT HERMETIC" in said
    assert "the command ended with status 143 (SIGTERM)" in said
    assert "  refused: GET https://example.org/a\n      no rule admits it\n      a rule\n" in said
    assert "the snapshot is as it was" in said


NOTHING = dict.fromkeys(("requests", "recorded", "replayed", "passed", "refused", "failed", "broken"), 0)


@pytest.mark.parametrize(
    ("counts", "had", "refresh", "words"),
    [
        ({"requests": 2, "recorded": 1, "replayed": 1}, True, False, None),
        ({"requests": 2, "replayed": 2}, True, False, "--refresh asks again"),
        ({"requests": 3, "replayed": 2, "refused": 1}, True, False, "--refresh asks again"),
        ({"requests": 3, "replayed": 2, "passed": 1}, True, False, None),
        ({"requests": 2, "replayed": 2}, True, True, None),
        ({}, True, False, "asked for nothing, so the snapshot stays as it is"),
        ({}, False, False, "asked for nothing, so no snapshot was written"),
        ({"requests": 1, "passed": 1}, False, False, "nothing was recorded, so no snapshot was written"),
    ],
)
def test_a_recording_that_recorded_nothing_says_why(
    counts: dict[str, int], had: bool, refresh: bool, words: str | None
) -> None:
    note = note_on_recording({**NOTHING, **counts}, had=had, refresh=refresh)
    assert note is None if words is None else note is not None and words in note


def test_a_command_that_failed_without_a_request_is_told_how_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    replace(GOOD, status=1, counts=NOTHING).say()
    assert "no request reached the proxy" in capsys.readouterr().err
    replace(GOOD, status=1).say()
    replace(GOOD, counts=NOTHING).say()
    assert "no request reached the proxy" not in capsys.readouterr().err


def test_programs_get_the_same_as_one_object() -> None:
    fields = refused("no rule admits it").to_json()
    assert fields["exit_code"] == 3
    assert fields["requests"] == 3
    assert fields["unanswered"][0]["url"] == "https://example.org/a"
    assert fields["snapshot"] is None
    assert replace(GOOD, recorded=CHANGED).to_json()["snapshot"]["difference"] == {"added": ["x"]}

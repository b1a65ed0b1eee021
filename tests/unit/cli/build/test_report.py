"""Tells how builds ended, to people and to programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hermit_cli.build.comparison import Comparison, Identity, compare
from hermit_cli.build.report import BuildReport, StepDone, say_step
from hermit_proxy.errors import ExitCode, HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.events import Outcome
from hermit_proxy.run.troubles import Trouble
from hermit_proxy.snapshot.written import Recorded
from hermit_workers.artifacts import Artifact
from hermit_workers.sandbox.artifacts.taking import ArtifactError

NOTHING = dict.fromkeys(("requests", "replayed", "recorded", "passed", "refused", "failed", "broken", "bytes"), 0)
IDENTITY = Identity("sha256:source", "sha256:plan", "sha256:image")
ARTIFACTS = (Artifact("dist/a", 5, "a" * 64, executable=False), Artifact("dist/b", 2048, "b" * 64, executable=True))
GOOD = StepDone(1, "compile", "make", "proxy", 0, 1.5, {**NOTHING, "requests": 2, "replayed": 2, "bytes": 10})
BAD = StepDone(2, "step-2", "make check", "none", 2, 0.25, NOTHING)
REPORT = BuildReport(
    mode=Mode.HERMETIC,
    command=("there",),
    status=0,
    seconds=2.0,
    counts={**NOTHING, "requests": 2, "replayed": 2},
    troubles=(),
    log=Path("/runs/1/requests.jsonl"),
    steps=(GOOD,),
    planned=1,
    artifacts=ARTIFACTS,
    out=Path("/there/.hermit/out"),
    identity=IDENTITY,
    commit="c" * 40,
    steps_log=Path("/runs/1/steps.log"),
    project=Path("/there"),
)
FAILED = replace(REPORT, status=2, steps=(GOOD, BAD), planned=3, artifacts=None, out=None)


def said(report: BuildReport, capsys: pytest.CaptureFixture[str]) -> str:
    report.say()
    return capsys.readouterr().err


def test_a_good_build_tells_its_artifacts_and_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(REPORT, capsys).splitlines() == [
        "hermit hermetic: done in 2.0 s; 2 requests, 2 replayed, 0 B",
        "  2 artifacts in /there/.hermit/out",
        "    sha256:aaaaaaaaaaaa      5 B  dist/a",
        "    sha256:bbbbbbbbbbbb  2.0 KiB  dist/b",
        "  log: /runs/1/requests.jsonl",
    ]


def test_a_failed_step_is_named_with_its_output_and_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(FAILED, capsys)
    assert "  step 2 of 3 ended with status 2: make check\n" in text
    assert "  output: /runs/1/steps.log\n" in text
    assert "next: hermit build --mode hermetic --keep there    (then: hermit shell" in text
    assert FAILED.exit_code is ExitCode.FAILED


def test_what_is_kept_is_told_with_its_size_and_the_shell_that_opens_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(replace(FAILED, kept=3 << 20), capsys)
    assert "what the failed step left is kept: 3.0 MiB" in text
    assert "next: hermit shell there    (a shell in what it left)" in text


MISSING = ArtifactError("artifact `x`: the build made no such file", hint="the pattern is relative")


def test_artifacts_that_cannot_be_taken_are_told_as_a_failed_step_is(capsys: pytest.CaptureFixture[str]) -> None:
    report = replace(REPORT, artifacts=None, out=None, failure=MISSING)
    text = said(report, capsys)
    assert text.startswith("hermit hermetic: failed in 2.0 s; 2 requests")
    assert "  artifact `x`: the build made no such file\n      the pattern is relative\n" in text
    assert "  output: /runs/1/steps.log\n" in text
    assert "next: hermit build --mode hermetic --keep there    (then: hermit shell" in text
    assert report.exit_code is ExitCode.FAILED
    text = said(replace(report, kept=3 << 20), capsys)
    assert "what the build left is kept: 3.0 MiB" in text
    assert "next: hermit shell there" in text


def test_a_machine_that_fails_is_told_with_its_own_code_and_nothing_to_keep(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = replace(REPORT, artifacts=None, out=None, failure=HermitError("the disk is full", hint="free the disk"))
    text = said(report, capsys)
    assert "  the disk is full\n      free the disk\n" in text
    assert "--keep" not in text
    assert report.exit_code is ExitCode.MACHINE


def test_a_limit_says_its_own_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    over = replace(BAD, exceeded="memory: 8.1 GiB of 8.0 GiB")
    text = said(replace(FAILED, steps=(GOOD, over)), capsys)
    assert "  step 2 of 3 was ended: memory: 8.1 GiB of 8.0 GiB\n" in text
    assert "ended with status" not in text


def test_an_interrupted_build_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    stopped = replace(FAILED, signal="SIGINT", steps=(GOOD, BAD))
    text = said(stopped, capsys)
    assert "interrupted by SIGINT in step 2 of 3" in text
    assert "next:" not in text
    assert stopped.exit_code is ExitCode.FAILED
    assert "next: hermit shell there" in said(replace(stopped, kept=1), capsys)


def test_a_refusal_has_the_advice_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    refused = Trouble(Outcome.REFUSED, "GET", "http://example.org/", "no rule admits it", None, broken=True, times=1)
    report = replace(FAILED, mode=Mode.RECORD, troubles=(refused,), counts={**NOTHING, "refused": 1, "broken": 1})
    assert report.exit_code is ExitCode.NOT_HERMETIC
    assert "next: hermit rules suggest" in said(report, capsys)


def test_a_recording_leads_to_the_hermetic_build() -> None:
    recorded = Recorded(Path("/there/.hermit/network"), True, {}, "", (), 0)
    report = replace(REPORT, mode=Mode.RECORD, recorded=recorded)
    assert report.next_step() == "commit .hermit, then: hermit build --mode hermetic there"


def test_a_spec_without_artifacts_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no artifacts: the spec names none" in said(replace(REPORT, artifacts=(), out=None), capsys)


def test_many_artifacts_are_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    many = tuple(Artifact(f"a{number:03}", 1, "a" * 64, executable=False) for number in range(40))
    assert "… and 28 more, see SHA256SUMS there" in said(replace(REPORT, artifacts=many), capsys)


def test_hostile_names_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = (Artifact("a\x1b[2Jb\n", 1, "a" * 64, executable=False),)
    assert "\x1b" not in said(replace(REPORT, artifacts=hostile), capsys)


def test_the_object_has_steps_artifacts_and_the_comparison() -> None:
    comparison = Comparison("then", "record", ("dist/a",), (), ())
    found = replace(REPORT, comparison=comparison).to_json()
    assert found["exit_code"] == 0
    assert found["steps"][0]["title"] == "make"
    assert (found["steps"][0]["requests"], found["steps"][0]["seconds"]) == (2, 1.5)
    assert found["artifacts"][1] == {"path": "dist/b", "size": 2048, "sha256": "b" * 64, "executable": True}
    assert (found["same"], found["differing"], found["compared_with"]) == (
        False,
        ["dist/a"],
        {"time": "then", "mode": "record", "changed": []},
    )
    other = replace(REPORT, comparison=replace(comparison, changed=("commit",))).to_json()
    assert (other["same"], other["differing"]) == (None, ["dist/a"])
    assert FAILED.to_json()["artifacts"] is None
    assert FAILED.to_json()["same"] is None


def test_a_result_is_what_a_later_build_compares_with() -> None:
    comparison = compare(ARTIFACTS, IDENTITY, [REPORT.result()])
    assert comparison is not None
    assert comparison.same
    later = Identity("sha256:source", "sha256:other", "sha256:image")
    comparison = compare(ARTIFACTS, later, [REPORT.result()], project="/there", commit="d" * 40)
    assert comparison is not None
    assert comparison.changed == ("commit",)


def test_where_an_artifact_lies_as_it_was_is_told_with_what_shows_the_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    comparison = Comparison("then", "record", ("dist/a",), (), (), before=("0" * 64,))
    report = replace(REPORT, comparison=comparison, was=Path("/my store/00"))
    assert "    how: diffoscope '/my store/00' /there/.hermit/out/dist/a\n" in said(report, capsys)


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (GOOD, "  done in 1.5 s, 2 requests, 2 replayed, 10 B\n"),
        (BAD, "  failed in 0.2 s\n"),
        (replace(GOOD, counts={**NOTHING, "requests": 1, "passed": 1}), "  done in 1.5 s, 1 request, 1 passed\n"),
        (replace(GOOD, counts=NOTHING, dropped=2048), "  done in 1.5 s, 2.0 KiB of output dropped (limits.output)\n"),
    ],
)
def test_a_step_tells_its_time_and_what_it_fetched(
    step: StepDone, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_step(step)
    assert capsys.readouterr().err == line


def test_what_comes_next_is_in_the_same_kind_of_cell_but_for_keeping() -> None:
    assert REPORT.again(Mode.RECORD) == "hermit build --mode record there"
    assert replace(REPORT, cell="vm").again(Mode.RECORD) == "hermit build --mode record --cell vm there"
    assert replace(REPORT, cell="vm").to_json()["cell"] == "vm"
    assert FAILED.next_step() == "hermit build --mode hermetic --keep there    (then: hermit shell)"
    kept = "hermit build --mode hermetic --cell sandbox --keep there    (then: hermit shell)"
    assert replace(FAILED, cell="vm").next_step() == kept

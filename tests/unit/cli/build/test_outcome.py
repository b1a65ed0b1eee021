"""Writes snapshots of builds that have ended, and reports how they went."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_cli import runs
from hermit_cli.build.kept import Kept
from hermit_cli.build.order import Built, Order
from hermit_cli.build.outcome import Outcome
from hermit_cli.build.report import StepDone
from hermit_cli.interrupts import InterruptedRunError
from hermit_cli.project import Project
from hermit_proxy.errors import ExitCode, HermitError
from hermit_proxy.policy import Mode
from hermit_proxy.run.events import Outcome as EventOutcome
from hermit_proxy.run.events import RequestEvent
from hermit_proxy.run.settings import ProxySettings
from hermit_proxy.settings import VmSettings
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_tree, write_tree
from hermit_proxy.store.open import open_store
from hermit_proxy.upstream import openings
from hermit_steps.plan import Facts, plan
from hermit_steps.spec import Run, Spec, Step
from hermit_workers.artifacts import Artifact
from hermit_workers.cell import Limits
from hermit_workers.source.worktree import Source

NOTHING = dict.fromkeys(("requests", "replayed", "recorded", "passed", "refused", "failed", "broken", "bytes"), 0)
KNOWN = Snapshot([Entry("GET", "https://example.org/a", 404)])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "p/.hermit").mkdir(parents=True)
    return Project(tmp_path / "p")


def outcome(project: Project, **counts: int) -> Outcome:
    """Give a recording of one step that went well."""
    folder = project.root.parent
    (folder / "requests.jsonl").touch()
    order = Order(
        mode=Mode.RECORD,
        cell="sandbox",
        proxy=ProxySettings(project.rules, project.network, str(folder / "store"), "pool"),
        rundir=folder,
        project=project.root,
        source=Source(project.root, Path(), ()),
        plan=plan(Spec("debian-12", (Step("make", Run("make"), "none"),)), Facts("p", 0)),
        limits=Limits(),
        out=project.hermit_dir / "out",
        kept=Kept(folder / "kept"),
        keep=False,
        environment=dict(os.environ),
        quiet=False,
        vm=VmSettings(),
    )
    step = StepDone(1, "make", "make", "none", 0, 1.0, NOTHING)
    built = Built((step,), 1, {**NOTHING, **counts}, None, (), "sha256:i", "sha256:s", None, "")
    return Outcome(order, built, 1.0, None)


def test_what_asked_for_nothing_has_a_snapshot_that_says_so(project: Project) -> None:
    done = outcome(project).recorded_over(Snapshot(), project.network, refresh=False)
    assert project.is_recorded
    assert len(read_tree(project.network)) == 0
    report = done.report(())
    assert report.note is not None
    assert "asked for nothing, and its snapshot says so" in report.note
    assert report.next_step() == "commit .hermit, then: hermit build --mode hermetic"


def test_what_asks_for_nothing_any_more_needs_no_entry(project: Project) -> None:
    write_tree(project.network, KNOWN)
    done = outcome(project).recorded_over(read_tree(project.network), project.network, refresh=False)
    assert done.recorded is not None
    assert done.recorded.pruned == 1
    assert len(read_tree(project.network)) == 0


@pytest.mark.parametrize("counts", [{"requests": 1, "passed": 1}, {"requests": 2, "failed": 2}])
def test_what_asked_for_something_that_could_not_be_recorded_has_no_snapshot_of_nothing(
    project: Project, counts: dict[str, int]
) -> None:
    done = outcome(project, **counts).recorded_over(Snapshot(), project.network, refresh=False)
    assert done.recorded is None
    assert done.note == "nothing was recorded, so no snapshot was written"
    assert not project.is_recorded


def test_a_part_of_a_build_writes_nothing(project: Project) -> None:
    whole = outcome(project)
    done = replace(whole, order=replace(whole.order, out=None)).recorded_over(KNOWN, project.network, refresh=False)
    assert done.note == "the snapshot is as it was: only a whole build writes one"
    assert not project.is_recorded


def test_a_snapshot_that_cannot_be_written_is_told_in_the_report(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(project.network, KNOWN)  # since the build began
    done = outcome(project).recorded_over(Snapshot(), project.network, refresh=False)
    report = done.report(("there",))
    assert report.exit_code is ExitCode.MACHINE
    assert "has changed since this run began" in str(report.failure)
    assert report.artifacts == ()

    def interrupted(*_: object, **_options: object) -> None:
        raise InterruptedRunError("interrupted by SIGTERM")

    monkeypatch.setattr("hermit_cli.build.outcome.write_snapshot", interrupted)
    with pytest.raises(InterruptedRunError):
        outcome(project).recorded_over(KNOWN, project.network, refresh=False)


def refused(url: str, hint: str) -> RequestEvent:
    return RequestEvent(0, "GET", url, EventOutcome.REFUSED, 403, reason="its address", hint=hint, broken=True)


def test_an_address_that_was_refused_is_told_with_those_that_the_rules_will_ask(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "_resolve", lambda _: [ipaddress.ip_address("10.0.0.1")])
    names = ("index", "files", "open")
    rules = [f"  - {{pattern: '{name}.example.org/.*', action: ALLOW}}" for name in names]
    rejected = "  - {pattern: 'tracker.example.org/.*', action: REJECT}"
    project.rules.write_text("\n".join(["rules:", *rules, rejected]) + "\n")
    settings = project.root.parent / "config.yaml"
    settings.write_text("upstream:\n  allow:\n    - open.example.org\n")
    whole = outcome(project, refused=2, broken=2)
    proxy = replace(whole.order.proxy, upstream_allow=("open.example.org",), settings_file=str(settings))
    log = project.root.parent / "requests.jsonl"
    hosts = ("b.example.org", "index.example.org")
    events = [refused(f"https://{host}/", openings.hint(str(settings), f"{host}:443")) for host in hosts]
    log.write_text("".join(f"{event.to_json()}\n" for event in events))
    report = replace(whole, order=replace(whole.order, proxy=proxy), log=log).report(())
    report.say()
    said = capsys.readouterr().err
    assert said.endswith(
        f";\n  if you trust them, add below {settings}:3:\n"
        "    - b.example.org:443\n"
        "    - index.example.org:443\n"
        "    - files.example.org    # the rules name it, too\n"
        "  next: hermit build --mode record\n"
    )
    assert said.count("upstream") == 0
    assert report.to_json()["to_open"] == ["b.example.org:443", "index.example.org:443"]


def test_where_no_address_was_refused_nothing_is_looked_up(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str) -> None:
        raise AssertionError(host)

    monkeypatch.setattr(openings, "needed", resolve)
    project.rules.write_text("rules: [{pattern: 'a.example.org/.*', action: ALLOW}]\n")
    log = project.root.parent / "requests.jsonl"
    log.write_text(refused("https://b.example.org/", "a rule").to_json() + "\n")
    assert replace(outcome(project, refused=1, broken=1), log=log).report(()).unasked == ()


def test_what_was_another_file_before_is_told_where_it_lies(project: Project) -> None:
    store = open_store(str(project.root.parent / "store"), environ=os.environ)
    with store.writer() as writer:
        writer.write(b"as it was")
        before = writer.commit()
    store.close()
    whole = outcome(project)
    now = (Artifact("dist/a", 1, "a" * 64, executable=False),)
    done = replace(whole, built=replace(whole.built, artifacts=now))
    for digest, known in ((before.sha256, True), ("0" * 64, False)):
        with runs.run_folder(os.environ) as rundir:
            (rundir / runs.LOG_NAME).touch()
            earlier = replace(done.built, artifacts=(replace(now[0], sha256=digest),))
            runs.write_result(rundir, replace(done, built=earlier).report(()).result())
        report = done.report(())
        assert report.comparison is not None
        assert (report.comparison.differing, report.comparison.before) == (("dist/a",), (digest,))
        assert (report.was is not None and report.was.read_bytes() == b"as it was") == known


def test_what_failed_in_the_build_is_what_its_report_has(project: Project) -> None:
    whole = outcome(project)
    missing = HermitError("an artifact is missing")
    report = replace(whole, built=replace(whole.built, failure=missing, artifacts=None)).report(("there",))
    assert report.failure is missing
    assert report.result()["exit_code"] == int(ExitCode.MACHINE)
    assert report.steps_log is None
    (project.root.parent / "steps.log").touch()
    assert whole.report(()).steps_log == project.root.parent / "steps.log"

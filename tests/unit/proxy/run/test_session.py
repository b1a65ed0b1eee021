"""Tests what a run decides, counts and checks before it answers anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError, NotHermeticError, UsageError
from hermit_proxy.policy import Fetch, Mode, Reason, Refuse, Replay
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.run.events import Outcome, RepeatedEvent, RequestEvent, read_log
from hermit_proxy.run.session import Counts, Session
from tests.support.replaying import HOST, Project

URL = f"https://{HOST}/a"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def load(project: Project, mode: Mode = Mode.HERMETIC) -> Session:
    rundir = project.folder / f"run-{mode.value}"
    rundir.mkdir()
    project.settings().write(rundir)
    return Session.load(rundir, mode)


def event(outcome: Outcome, **fields: object) -> RequestEvent:
    return RequestEvent(time=1.0, method="GET", url=URL, outcome=outcome, status=200, **fields)  # type: ignore[arg-type]  # a test's fields


def test_an_observed_entry_is_replayed_and_nothing_else(project: Project) -> None:
    entry = project.add(URL, b"x")
    session = load(project)
    decision = session.decide(Request("GET", parse_url(URL)))
    assert isinstance(decision, Replay)
    assert decision.entry == entry
    other = Request("GET", parse_url(f"{URL}/b"))
    refused = session.decide(other)
    assert isinstance(refused, Refuse)
    assert refused.reason is Reason.NOT_RECORDED
    assert "hermit run --mode record" in session.hint(refused, other)
    session.close()


def test_a_recording_needs_no_complete_snapshot(project: Project) -> None:
    project.add(URL, b"x", observe=False)
    session = load(project, Mode.RECORD)
    assert isinstance(session.decide(Request("GET", parse_url(URL))), Fetch)
    session.close()


def test_what_is_not_observed_or_not_there_is_named_with_the_command_that_helps(project: Project) -> None:
    project.add(URL, b"x", observe=False)
    lost = project.add(f"{URL}/lost", b"y")
    project.body_file(lost.sha256 or "").unlink()
    with pytest.raises(NotHermeticError) as failed:
        load(project)
    lines = str(failed.value).splitlines()
    assert lines[1] == f"  GET {URL}"
    assert lines[3] == f"  GET {URL}/lost"
    pool = project.settings().pool
    assert lines[0].startswith(f"in pool {pool}, nobody has observed")
    assert (failed.value.hint or "").startswith("hermit store fill ")
    assert f"one pool, here {pool}; `pool:` in config.yaml" in (failed.value.hint or "")


def test_a_refresh_replays_only_what_it_has_recorded_itself(project: Project) -> None:
    entry = project.add(URL, b"x")
    project.rules = f"rules:\n  - {{pattern: '{HOST}/.*', action: ALLOW}}\n"
    rundir = project.folder / "run"
    rundir.mkdir()
    replace(project.settings(), refresh=True).write(rundir)
    session = Session.load(rundir, Mode.RECORD)
    request = Request("GET", parse_url(URL))
    assert isinstance(session.decide(request), Fetch)
    session.remember(entry)
    assert isinstance(session.decide(request), Replay)
    session.close()


def test_a_long_list_of_names_is_cut_and_counted(project: Project) -> None:
    for number in range(25):
        project.add(f"{URL}/{number:02}", b"x", observe=False)
    with pytest.raises(NotHermeticError, match=r"for 25 requests:") as failed:
        load(project)
    assert str(failed.value).endswith("  and 5 more")


def test_mistakes_in_rules_are_usage_errors(project: Project) -> None:
    project.rules = "rules: 1\n"
    with pytest.raises(UsageError, match=r"rules\.yaml:1"):
        load(project)


def test_a_rule_that_names_an_unbound_credential_is_refused_in_a_recording_only(project: Project) -> None:
    project.rules = 'rules:\n  - {pattern: "x.example.org/.*", action: ALLOW, credential: mine}\n'
    with pytest.raises(UsageError, match="`mine` is not bound"):
        load(project, Mode.RECORD)
    session = load(project)
    assert not session.bindings
    session.close()


def test_outside_of_steps_there_is_a_network_only_until_the_first(project: Project) -> None:
    project.add(URL, b"x")
    session = load(project)
    request = Request("GET", parse_url(URL))
    seen = []
    for change in (None, ("a", "proxy"), None, ("b", "none"), None):
        if change is not None:
            session.begin_step(*change)
        elif session.step is not None:
            assert session.end_step()
        seen.append(isinstance(session.decide(request), Replay))
    assert seen == [True, True, False, False, False]
    session.close()


def test_each_change_of_policy_begins_an_epoch(project: Project) -> None:
    entry = project.add(URL, b"x")
    session = load(project)
    epochs = [session.epoch]
    session.begin_step("a", "proxy")
    epochs.append(session.epoch)
    session.end_step()
    epochs.append(session.epoch)
    session.remember(entry)
    epochs.append(session.epoch)
    assert len(set(epochs)) == 4
    session.close()


def test_the_log_has_a_line_for_what_was_counted(project: Project) -> None:
    session = load(project)
    heard: list[RequestEvent] = []
    session.on_log = heard.append
    session.log(event(Outcome.REPLAYED, size=5))
    session.log(event(Outcome.REFUSED, broken=True, size=2))
    session.flush()
    assert list(read_log(session.rundir / "requests.jsonl")) == heard
    counts = session.counts
    assert (counts.requests, counts.replayed, counts.refused, counts.broken, counts.bytes) == (2, 1, 1, 1, 7)
    assert counts.last_refusal == f"GET {URL}"
    session.close()
    session.close()


def test_a_repeated_answer_is_logged_counted_and_told_like_any(project: Project) -> None:
    session = load(project)
    heard: list[RequestEvent] = []
    session.on_log = heard.append
    first = event(Outcome.REPLAYED, size=5)
    session.log_again(RepeatedEvent(first), 7.5, 0.25)
    session.flush()
    assert list(read_log(session.rundir / "requests.jsonl")) == [replace(first, time=7.5, duration=0.25)]
    assert (session.counts.requests, session.counts.replayed, session.counts.bytes) == (1, 1, 5)
    assert heard == [first]
    session.close()


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_counted_under_its_name(outcome: Outcome) -> None:
    counts = Counts()
    counts.add(event(outcome))
    fields = counts.to_dict()
    assert {name for name in fields if fields[name] == 1} == {"requests", outcome.value}
    assert Counts.from_dict({**fields, "event": "status"}) == counts


def test_a_log_that_cannot_be_written_ends_the_run_once(project: Project) -> None:
    session = load(project)
    told: list[HermitError] = []
    session.on_fatal = told.append
    session._log._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115  closed with the session
    session.log(event(Outcome.REPLAYED))
    session.log_again(RepeatedEvent(event(Outcome.REPLAYED)), 1.0, 0.0)
    assert len(told) == 1
    assert session.failed is told[0]
    assert "cannot be written" in str(told[0])
    assert session.counts.requests == 0
    session.close()

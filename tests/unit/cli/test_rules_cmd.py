"""`hermit rules check` tells every mistake where it stands; `suggest` gives rules that can be pasted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import load_rules
from tests.support.recorded import RecordedProject, entry, hermit, refused, replayed


@pytest.fixture
def project(tmp_path: Path) -> RecordedProject:
    return RecordedProject(tmp_path / "p")


def test_good_rules_are_counted(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("rules", "check") == 0
    assert capsys.readouterr().out == f"{project.rules}: 1 rule, no mistake\n"


def test_all_mistakes_are_told_at_once_with_file_and_line(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.rules.write_text(
        "rules:\n  - pattern: 'a.org/('\n    action: ALLOW\n  - {pattern: 'a.org/', action: ALOW}\n"
    )
    assert hermit("rules", "check") == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in lines[:2]] == [f"{project.rules}:2:", f"{project.rules}:4:"]
    assert "did you mean `ALLOW`" in lines[1]
    assert lines[-1].startswith(f"{project.rules}: 2 mistakes")


def test_json_has_the_mistakes_as_data(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.rules.write_text("rulez: []\n")
    assert hermit("rules", "check", "--json") == 2
    shown = json.loads(capsys.readouterr().out)
    assert shown["mistakes"][0]["path"] == str(project.rules)
    assert shown["mistakes"][0]["line"] == 1
    assert shown["warnings"] == []


def test_a_file_may_be_named_and_must_be_there(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "other.yaml").write_text("rules: []\n")
    assert hermit("rules", "check", "other.yaml") == 0
    assert hermit("rules", "check", "nowhere.yaml") == 2
    assert "there is no rules file nowhere.yaml" in capsys.readouterr().err


def test_a_rule_that_can_never_match_is_a_warning(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    with project.rules.open("a") as file:
        file.write('  - pattern: "one.example.org/x"\n    action: REJECT\n')
    assert hermit("rules", "check", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(w["line"], "never matches" in w["message"]) for w in shown["warnings"]] == [(4, True)]


def test_an_old_pattern_that_matched_only_unanchored_is_named_by_what_the_snapshot_has(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.rules.write_text('rules:\n  - pattern: "example.org/pool/.*"\n    action: ALLOW\n')
    project.record(entry("/pool/x", host="mirror.example.org"))
    assert hermit("rules", "check") == 0
    told = capsys.readouterr().out
    assert f"{project.rules}:2: " in told
    assert "only because it was not anchored" in told


def test_a_credential_that_is_not_bound_is_a_mistake(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.rules.write_text('rules:\n  - {pattern: "a.org/.*", action: ALLOW, credential: mine}\n')
    assert hermit("rules", "check") == 2
    assert f"{project.rules}:2: " in capsys.readouterr().out


def test_a_mistake_in_the_users_credentials_is_told_too(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit/credentials.yaml"
    credentials.parent.mkdir()
    credentials.write_text("mine: {hots: x}\n")
    credentials.chmod(0o600)
    assert hermit("rules", "check", project.rules) == 2
    assert "credentials.yaml:1:" in capsys.readouterr().out


def test_suggested_rules_admit_what_was_refused_when_they_are_saved(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = ["https://two.example.org/pool/a.deb", "https://two.example.org/pool/b.deb", "https://three.example.org/x"]
    project.log(*map(refused, urls))
    assert hermit("rules", "suggest") == 0
    out, err = capsys.readouterr()
    assert "2 rules would admit 3 of 3 refused requests" in err
    project.rules.write_text(out)
    rules = load_rules(project.rules)
    assert all(rules.match("GET", parse_url(url)) for url in urls)
    assert rules.match("GET", parse_url("https://two.example.org/other")) is None


def test_suggestions_as_json_hold_the_rules_and_the_text(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    log = project.log(refused("https://two.example.org/x"))
    assert hermit("rules", "suggest", "--log", log, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["log"], shown["refused"], len(shown["rules"])) == (str(log), 1, 1)
    assert shown["rules"][0]["pattern"] in shown["yaml"]


def test_a_run_that_was_refused_nothing_needs_no_rules(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.log(replayed(entry("/x")))
    assert hermit("rules", "suggest") == 0
    out, err = capsys.readouterr()
    assert not out  # stdout may be sent into a rules file
    assert "was refused nothing" in err


def test_what_a_rule_rejects_is_not_suggested(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.rules.write_text('rules:\n  - pattern: "two.example.org/.*"\n    action: REJECT\n')
    project.log(refused("https://two.example.org/x"))
    assert hermit("rules", "suggest") == 0
    out, err = capsys.readouterr()
    assert not out
    assert "refused 1 request, none for want of a rule" in err


def test_written_rules_leave_nothing_to_suggest(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.log(refused("https://two.example.org/x"), refused("https://one.example.org/y?token=s"))
    assert hermit("rules", "suggest", "--write") == 0
    assert f"added 2 rules to {project.rules}, 1 of them above" in capsys.readouterr().out
    assert [rule.pattern.text for rule in load_rules(project.rules).rules] == [
        "one.example.org/y",
        "one.example.org/.*",
        "two.example.org/x",
    ]
    written = project.rules.read_text()
    assert hermit("rules", "suggest", "--write") == 0
    assert capsys.readouterr().out == ""
    assert project.rules.read_text() == written


def test_written_rules_make_the_file_and_its_folder(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.log(refused("https://two.example.org/x"))
    project.rules.unlink()
    project.rules.parent.rmdir()
    assert hermit("rules", "suggest", "--write", "--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == str(project.rules)
    assert len(load_rules(project.rules).rules) == 1


def test_a_run_of_another_project_suggests_nothing_here(
    project: RecordedProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = project.log(refused("https://two.example.org/x"))
    other = RecordedProject(tmp_path / "other")
    other.log(refused("https://three.example.org/x"), run="20250101T000000-000001aaaa", exit_code=3)
    assert hermit("rules", "suggest") == 0
    assert "three.example.org" in capsys.readouterr().out
    os.chdir(project.root)
    assert hermit("rules", "suggest", "--log", "last") == 0
    assert "two.example.org" in capsys.readouterr().out
    third = RecordedProject(tmp_path / "third")
    assert hermit("rules", "suggest") == 2
    err = capsys.readouterr().err
    assert f"no run of the project {third.root}" in err
    assert "--log 20250101T000000-000001aaaa" in err
    assert hermit("rules", "suggest", "--log", log) == 0


def test_the_hint_for_a_missing_file_is_a_command_that_makes_it(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.rules.unlink()
    assert hermit("rules", "check") == 2
    assert "hermit rules suggest --write" in capsys.readouterr().err


def test_without_a_run_there_is_nothing_to_suggest(project: RecordedProject) -> None:
    assert project.rules.exists()
    assert hermit("rules", "suggest") == 2


def test_a_log_that_is_none_is_told_with_its_line(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "log").write_text("{}\n")
    assert hermit("rules", "suggest", "--log", "log") == 4
    assert "log:1:" in capsys.readouterr().err

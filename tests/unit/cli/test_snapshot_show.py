"""`hermit snapshot show` lists hosts, and the entries of one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_cli.snapshot_show import entry_data, size_of
from tests.support.recorded import RecordedProject, entry, hermit

ONE = entry("/a.txt", b"12345")
TWICE = entry("/copy.txt", b"12345")
REDIRECT = replace(entry("/old", None, status=302), headers=(("location", "/new"),))
POST = replace(entry("/api"), method="POST", body="f" * 64, vary=(("accept", "text/plain"),))
OTHER = entry("/b", host="two.example.org:8443")
TOKEN = replace(entry("/token", None), stand_in="token")


@pytest.fixture
def project(tmp_path: Path) -> RecordedProject:
    project = RecordedProject(tmp_path / "p")
    project.record(ONE, TWICE, REDIRECT, POST, OTHER, TOKEN)
    return project


def test_hosts_stand_with_their_entries_and_bytes(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{project.network}: 6 entries of 2 hosts, 9 B, recorded 2023-11-14T22:13:20Z"
    assert lines[2:4] == ["  one.example.org       5 entries  9 B", "  two.example.org:8443    1 entry  4 B"]


def test_a_project_without_a_recording_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RecordedProject(tmp_path / "p")
    assert hermit("snapshot", "show") == 0
    assert "next: hermit build, or hermit run --mode record -- COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("host", ["one.example.org", "ONE.example.org", "one.example.org.yaml"])
@pytest.mark.usefixtures("project")
def test_the_entries_of_a_host_say_what_is_asked_and_answered(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "show", host) == 0
    five, four = (ONE.sha256 or "")[:12], (POST.sha256 or "")[:12]
    assert capsys.readouterr().out.splitlines() == [
        f"200  GET   5 B  {five}  https://one.example.org/a.txt",
        f"200  POST  4 B  {four}  https://one.example.org/api [accept: text/plain] [body ffffffffffff]",
        f"200  GET   5 B  {five}  https://one.example.org/copy.txt",
        "302  GET     -  -             https://one.example.org/old -> /new",
        "200  GET     -  -             https://one.example.org/token (a stand-in token)",
    ]


@pytest.mark.parametrize("host", ["two.example.org", "two.example.org:8443", "two.example.org+8443.yaml"])
@pytest.mark.usefixtures("project")
def test_a_host_may_be_named_with_its_port_or_its_file(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "show", "--json", host) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(h["host"], h["entries"]) for h in shown["hosts"]] == [("two.example.org:8443", 1)]
    assert shown["hosts"][0]["requests"] == [entry_data(OTHER)]


@pytest.mark.usefixtures("project")
def test_a_host_that_is_not_there_is_a_usage_error_that_names_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hermit("snapshot", "show", "three.example.org") == 2
    told = capsys.readouterr().err
    assert "nothing of three.example.org" in told
    assert "one.example.org, two.example.org:8443" in told


def test_json_without_a_host_counts_and_lists_no_requests(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hermit("snapshot", "show", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "snapshot": str(project.network),
        "recorded": "2023-11-14T22:13:20Z",
        "hosts": [
            {"host": "one.example.org", "entries": 5, "bytes": 9},
            {"host": "two.example.org:8443", "entries": 1, "bytes": 4},
        ],
    }


def test_a_body_under_two_names_counts_once() -> None:
    assert size_of([ONE, TWICE, REDIRECT]) == 5


def test_mistakes_in_the_snapshot_are_told_with_their_lines(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.network / "one.example.org.yaml").write_text("version: 3\nentries: []\n")
    assert hermit("snapshot", "show") == 2
    assert "one.example.org.yaml:1:" in capsys.readouterr().err

"""`hermit snapshot diff` tells what a reviewer must see, `export` writes what browsers can open."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.recorded import RecordedProject, entry, hermit, refused, replayed

OLD = entry("/file", b"old")
NEW = entry("/file", b"new body")
ELSEWHERE = entry("/x", host="two.example.org")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "hermit-v1"


@pytest.fixture
def project(tmp_path: Path) -> RecordedProject:
    """Make a project with a committed snapshot, and a different one in the work tree."""
    project = RecordedProject(tmp_path / "p")
    project.record(OLD)
    project.commit("recorded")
    project.record(NEW, ELSEWHERE)
    return project


@pytest.mark.usefixtures("project")
def test_without_names_the_commit_is_compared_with_the_work_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "diff") == 0
    told = capsys.readouterr().out
    assert told.startswith("CHANGED under an unchanged URL (1)\n  GET https://one.example.org/file\n")
    assert "New hosts (1)\n  two.example.org\n" in told
    assert "next: look at each" in told


@pytest.mark.usefixtures("project")
def test_json_has_the_same_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "diff", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["differs"] is True
    assert [change["new"]["sha256"] for change in shown["changed"]] == [NEW.sha256]
    assert shown["new_hosts"] == ["two.example.org"]


@pytest.mark.parametrize("names", [("HEAD", "HEAD"), ("main", "HEAD"), (".", ".hermit/network"), ("HEAD~1", "HEAD~1")])
@pytest.mark.usefixtures("project")
def test_what_is_the_same_is_told_to_be(names: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hermit("snapshot", "diff", *names) == 0
    assert capsys.readouterr().out == "The snapshots say the same.\n"


def test_revisions_and_folders_may_be_mixed(project: RecordedProject, capsys: pytest.CaptureFixture[str]) -> None:
    project.commit("recorded again")
    shutil.copytree(project.network, project.root / "copy")
    assert hermit("snapshot", "diff", "HEAD", "copy", "--json") == 0
    assert json.loads(capsys.readouterr().out)["differs"] is False
    assert hermit("snapshot", "diff", "HEAD~1", "copy", "--json") == 0
    assert json.loads(capsys.readouterr().out)["differs"] is True


def test_two_recordings_of_the_first_hermit_differ_in_what_debian_published_between_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RecordedProject(tmp_path / "p")
    sides = [FIXTURES / name for name in ("debian-bullseye-previous", "debian-bullseye")]
    assert hermit("snapshot", "diff", *sides, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [change["new"]["url"].rpartition("/dists/")[2] for change in shown["changed"]] == [
        "bullseye-security/InRelease",
        "bullseye-updates/InRelease",
    ]
    assert [len(shown[name]) for name in ("added", "removed", "new_hosts")] == [1, 1, 0]


def test_a_revision_that_is_not_there_is_a_usage_error(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hermit("snapshot", "diff", "no-such-branch") == 2
    assert f"neither a folder nor a revision of the repository at {project.root}" in capsys.readouterr().err


def test_a_har_file_has_every_request_of_the_last_run(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.log(replayed(OLD), run="20240101T000000-000001aaaa")
    project.log(replayed(NEW), refused("https://no.example.org/"), run="20240102T000000-000001aaaa")
    assert hermit("snapshot", "export", "--har", "run.har") == 0
    written = json.loads(Path("run.har").read_text())["log"]
    assert written["version"] == "1.2"
    assert [one["_hermit"]["outcome"] for one in written["entries"]] == ["replayed", "refused"]
    assert "wrote run.har: 2 requests" in capsys.readouterr().out
    assert [path.name for path in Path.cwd().iterdir() if "har" in path.name] == ["run.har"]


def test_a_log_may_be_named_and_stdout_may_be_the_file(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    log = project.log(replayed(OLD))
    assert hermit("snapshot", "export", "--log", log, "--har", "-") == 0
    assert len(json.loads(capsys.readouterr().out)["log"]["entries"]) == 1


def test_json_and_har_cannot_both_have_stdout(project: RecordedProject) -> None:
    project.log(replayed(OLD))
    assert hermit("snapshot", "export", "--har", "-", "--json") == 2


def test_without_any_run_there_is_nothing_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RecordedProject(tmp_path / "p")
    assert hermit("snapshot", "export", "--har", "run.har") == 2
    assert "hermit run -- COMMAND" in capsys.readouterr().err
    assert not Path("run.har").exists()


def test_a_file_that_cannot_be_written_is_the_machines_fault(
    project: RecordedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    project.log(replayed(OLD))
    assert hermit("snapshot", "export", "--har", "no/such/folder/run.har") == 4
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "diff", "verify", "prune", "export"])
def test_every_command_tells_mistakes_as_one_object_too(
    project: RecordedProject, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project.log(replayed(replace(OLD, url="https://gone.example.org/")))
    (project.network / "one.example.org.yaml").write_text("version: 2\nversion: 2\n")
    extra = {"diff": [".", "."], "export": ["--log", "nowhere.jsonl/x", "--har", "x"]}.get(command, [])
    code = hermit("snapshot", command, "--json", *extra)
    shown = json.loads(capsys.readouterr().out)
    assert code == shown["exit_code"] != 0
    assert shown["error"]

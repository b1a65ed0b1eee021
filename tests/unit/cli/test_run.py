"""Checks what `hermit run` understands of its command line, without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from hermit_cli import run
from hermit_proxy.errors import UsageError


def options(folder: Path, *arguments: str) -> run.Options:
    parser = argparse.ArgumentParser()
    run.add_parser(parser.add_subparsers())
    return run.read_options(parser.parse_args(["run", *arguments]), folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".hermit").mkdir()
    (tmp_path / "src").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("--", "make", "--mode", "x"), ("make", "--mode", "x")),
        (("make", "-j2"), ("make", "-j2")),
        (("--", "sh", "-c", "a -- b", "--", "c"), ("sh", "-c", "a -- b", "--", "c")),
        (("--quiet", "--", "--odd-name"), ("--odd-name",)),
    ],
)
def test_the_command_is_taken_as_it_stands(project: Path, words: tuple[str, ...], command: tuple[str, ...]) -> None:
    assert options(project, *words).command == command


def test_defaults_are_those_of_the_project_around(project: Path) -> None:
    found = options(project / "src", "--", "true")
    assert (found.rules, found.network) == (project / ".hermit/rules.yaml", project / ".hermit/network")


def test_auto_is_hermetic_where_there_is_a_snapshot(project: Path) -> None:
    assert options(project, "--", "true").mode == "record"
    (project / ".hermit/network").mkdir()
    assert options(project, "--", "true").mode == "record"
    (project / ".hermit/network/example.org.yaml").touch()
    assert options(project, "--", "true").mode == "hermetic"
    assert options(project, "--mode", "record", "--", "true").mode == "record"


def test_a_refresh_records_even_where_there_is_a_snapshot(project: Path) -> None:
    (project / ".hermit/network").mkdir()
    (project / ".hermit/network/example.org.yaml").touch()
    for mode in ("auto", "record"):
        found = options(project, "--refresh", "--mode", mode, "--", "true")
        assert (found.mode, found.refresh) == ("record", True)


@pytest.mark.parametrize("path", [None, ".hermit/network", ".hermit/../.hermit/network", ".hermit/other"])
def test_the_projects_own_snapshot_is_its_own_however_it_is_spelled(
    project: Path, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    arguments = () if path is None else ("--snapshot", path)
    assert options(project, *arguments, "--", "true").own is (path != ".hermit/other")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--refresh", "--mode", "hermetic", "--", "true"), "--refresh asks upstream"),
        ((), "no command"),
        (("--",), "no command"),
        (("--rules", "missing.yaml", "--", "true"), "no rules file"),
        (("--snapshot", "src/../file", "--", "true"), "no folder"),
    ],
)
def test_what_makes_no_sense_is_refused(
    project: Path, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "file").touch()
    monkeypatch.chdir(project)
    with pytest.raises(UsageError, match=words):
        options(project, *arguments)

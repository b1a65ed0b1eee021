"""Tests that tools are asked away from the project, and no login is handed on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli.init.registries.asking import fetched, fetched_json, said, set_up, without


def tool(folder: Path, script: str) -> dict[str, str]:
    path = folder / "tool"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("script", "expected"), [("echo ' a b '", "a b"), ("echo a; exit 1", None), ("echo a >&2", ""), ("cat", "")]
)
def test_what_a_tool_prints_is_what_it_says(script: str, expected: str | None, tmp_path: Path) -> None:
    assert said(["tool"], tool(tmp_path, script)) == expected


def test_a_tool_is_asked_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(["tool"], tool(tmp_path, "ls -A")) == ""


def test_a_tool_that_is_not_there_says_nothing() -> None:
    assert said(["no-such-tool"], os.environ) is None


def test_a_tool_that_does_not_end_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermit_cli.init.registries.asking._TIMEOUT", 0.2)
    assert said(["tool"], tool(tmp_path, "exec sleep 60")) is None


@pytest.mark.parametrize("url", ["https://user:secret@127.0.0.1:9/", "http://127.0.0.1:9/", "file:///etc/passwd", "x"])
def test_what_is_out_of_reach_or_wants_a_login_is_nothing(url: str) -> None:
    assert fetched(url) is None
    assert fetched_json(url) == {}


def test_variables_that_set_a_tool_up_are_left_out_whatever_their_case() -> None:
    environ = {"NPM_CONFIG_REGISTRY": "x", "npm_config_cache": "x", "PATH": "y"}
    assert without(environ, "npm_config_") == {"PATH": "y"}


STANDARD = "https://standard.example.org/"


def test_a_tool_that_is_not_set_up_needs_no_variable() -> None:
    asked, environment, notes = set_up("npm", "V", "https://standard.example.org", STANDARD)
    assert (asked.url, environment, notes) == (STANDARD, {}, ())


def test_a_mirror_is_told_to_the_cell() -> None:
    asked, environment, notes = set_up("npm", "V", "https://mirror.example.org/x/", STANDARD)
    assert asked.url == "https://mirror.example.org/x/"
    assert environment == {"V": "https://mirror.example.org/x/"}
    assert notes == ("npm is set up for https://mirror.example.org/x/ here; V tells the cell",)


def test_a_login_stays_here_and_what_to_do_instead_is_told() -> None:
    asked, environment, notes = set_up("npm", "V", "https://user:hunter2@mirror.example.org/x/", STANDARD)
    assert "hunter2" not in f"{asked} {environment} {notes}"
    assert environment == {"V": "https://mirror.example.org/x/"}
    assert "docs/rules.md" in notes[0]

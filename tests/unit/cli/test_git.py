"""Asks for origins."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermit_cli import git
from tests.support import repository


def test_the_origin_is_the_repositorys_own_and_nothing_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    assert git.origin(folder) == ""
    repository.git(folder, "init", "-q")
    assert git.origin(folder) == ""
    repository.git(folder, "remote", "add", "origin", "https://git.example.org/a/b")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git.origin(folder) == "https://git.example.org/a/b"
    monkeypatch.setenv("PATH", "/nowhere")
    assert git.origin(folder) == ""

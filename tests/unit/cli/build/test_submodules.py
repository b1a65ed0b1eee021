"""A submodule that nothing fetches is told before the build that misses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli.build import command
from hermit_cli.build.report import say_beginning
from hermit_cli.build.submodules import unfetched
from hermit_cli.project import Project
from tests.support.repository import git


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a project with two submodules, one of which is not checked out."""
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q")
    git(library, "commit", "-q", "--allow-empty", "-m", "first")
    root = tmp_path / "project"
    (root / ".hermit").mkdir(parents=True)
    git(root, "init", "-q")
    for name in ("vendor/a", "vendor/b"):
        git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), name)
    git(root, "commit", "-q", "-m", "first")
    git(root, "submodule", "deinit", "-q", "-f", "vendor/a")
    return root


def looked_at(root: Path, steps: str) -> list[str]:
    (root / ".hermit/build.yaml").write_text(f"image: debian-12\nsteps: [{steps}]\n")
    return list(unfetched(*command.look_at(Project(root))))


def test_a_submodule_that_no_step_fetches_is_told_with_the_command(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = looked_at(project, "{run: make}")
    assert line.startswith("submodule vendor/a and 1 more: an empty folder in the build")
    assert line.endswith("git submodule update --init --recursive")
    say_beginning("record", *command.look_at(Project(project)))
    assert f"  {line}\n" in capsys.readouterr().err


def test_a_step_that_fetches_them_and_a_project_without_any_are_no_matter(project: Path, tmp_path: Path) -> None:
    assert looked_at(project, "{run: git submodule update --init, network: proxy}, {run: make}") == []
    (tmp_path / "other/.hermit").mkdir(parents=True)
    assert looked_at(tmp_path / "other", "{run: make}") == []


def test_a_script_that_fetches_them_is_believed(project: Path) -> None:
    script = project / ".hermit/build"
    script.write_text("#!/bin/sh\ngit submodule update --init\n")
    script.chmod(0o755)
    assert list(unfetched(*command.look_at(Project(project)))) == []


def test_a_link_in_the_place_of_a_script_is_not_followed(project: Path) -> None:
    os.mkfifo(project.parent / "endless")
    (project / ".hermit/build").symlink_to(project.parent / "endless")
    assert looked_at(project, "{run: make}")

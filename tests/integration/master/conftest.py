"""Gives tests of the master a project in a repository, and a master's folder whose database is made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import master as masters
from tests.support.builds import BuildProject, build_project
from tests.support.hermit import need_namespaces
from tests.support.repository import git


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the database once: that takes as long as a master's start."""
    folder = tmp_path_factory.mktemp("template") / "master"
    masters.create(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Iterator[BuildProject]:
    """Make a project in a repository of its own."""
    need_namespaces()
    with build_project(tmp_path / "hello") as project:
        git(project.root, "init", "-q", "-b", "main")
        yield project


def commit(project: BuildProject) -> str:
    """Commit all that is there; give the commit."""
    git(project.root, "add", "-A")
    git(project.root, "commit", "-q", "--allow-empty", "-m", "x")
    return git(project.root, "rev-parse", "HEAD")

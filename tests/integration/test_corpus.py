"""Builds real projects, recorded and then twice unplugged: a cut of the corpus always, the rest with the long tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.corpus import project as projects
from tests.corpus.__main__ import tell
from tests.corpus.project import Project
from tests.corpus.trial import Place, try_project
from tests.support.hermit import need_namespaces

EVERY = [projects.read(name) for name in projects.names()]
# What the issue asks for, whatever becomes of single projects.
LEAST = {"pip": 4, "npm": 4, "cargo": 4, "go": 4, "maven": 4, "apt": 2, "uv": 1, "pnpm": 1, "git": 1, "cmake": 1}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Share images and fetched files between the projects; HERMIT_CORPUS names a folder that outlives the session."""
    kept = os.environ.get("HERMIT_CORPUS", "")
    return Place(Path(kept) if kept else tmp_path_factory.mktemp("corpus"))


def as_parameter(project: Project) -> object:
    # The first of an image makes it; a JVM build asks for a thousand files.
    marks = [pytest.mark.registry, pytest.mark.timeout(900)]
    return pytest.param(project, id=project.name, marks=marks if project.cut else [*marks, pytest.mark.long])


@pytest.mark.parametrize("project", [as_parameter(project) for project in EVERY])
def test_a_real_project_replays_unplugged_with_the_output_that_its_data_says(project: Project, place: Place) -> None:
    need_namespaces()
    trial = try_project(project, place)
    assert trial.verdict.good, tell(trial, place.work(project))
    assert trial.requests > 0, "a build that asks nothing shows nothing"


@pytest.mark.parametrize("kind", sorted(LEAST))
def test_the_corpus_has_as_many_projects_of_each_kind_as_were_promised(kind: str) -> None:
    assert sum(project.kind == kind for project in EVERY) >= LEAST[kind]


def test_the_cut_spans_several_kinds() -> None:
    assert len({project.kind for project in EVERY if project.cut}) >= 3

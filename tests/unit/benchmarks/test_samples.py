"""Every sample of the build benchmark is a project that Hermit can build, with nothing of whoever measures."""

from __future__ import annotations

from pathlib import Path

import pytest
import samples

from hermit_steps.finding import find_spec
from hermit_steps.reader import read_spec
from hermit_workers.image.recipe import load_recipe


def test_all_samples_have_their_turn() -> None:
    folders = {path.name for path in samples.PROJECTS.iterdir() if path.is_dir()}
    assert sorted(samples.NAMES) == sorted(folders)


@pytest.mark.parametrize("name", samples.NAMES)
def test_a_sample_has_a_spec_that_starts_from_the_one_image(name: str) -> None:
    file = samples.PROJECTS / name / "build.yaml"
    spec = read_spec(file.read_bytes(), file)
    assert spec.image == ".hermit/image.yaml"
    assert spec.steps


@pytest.mark.parametrize("name", samples.NAMES)
def test_a_sample_that_asks_for_something_has_files_from_which_its_rules_are_made(name: str) -> None:
    file = samples.PROJECTS / name / "build.yaml"
    asks = any(step.network == "proxy" for step in read_spec(file.read_bytes(), file).steps)
    assert (samples.PROJECTS / name / "files").is_dir() == asks


def test_a_project_is_made_once_with_steps_and_the_recipe_of_the_image(tmp_path: Path) -> None:
    project = samples.Place(tmp_path).project("nothing")
    assert [step.network for step in find_spec(project).steps] == ["none"]
    assert "maven" in load_recipe(".hermit/image.yaml", project).packages
    (project / ".hermit/build.yaml").write_text("mine")
    assert samples.Place(tmp_path).project("nothing") == project
    assert (project / ".hermit/build.yaml").read_text() == "mine"


def test_a_recording_begins_with_nothing(tmp_path: Path) -> None:
    place = samples.Place(tmp_path)
    project = place.project("nothing")
    kept = [project / ".hermit/build.yaml", tmp_path / "data/hermit/images/one"]
    gone = [project / ".hermit/network/entry.yaml", tmp_path / "data/hermit/store/body"]
    for path in (*kept[1:], *gone):
        path.parent.mkdir(parents=True)
        path.touch()
    place.forget(project)
    assert [path.exists() for path in (*kept, *gone)] == [True, True, False, False]


def test_nothing_of_the_user_is_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.org/")
    monkeypatch.setenv("XDG_DATA_HOME", "/mine")
    environment = samples.Place(tmp_path).environment()
    assert "PIP_INDEX_URL" not in environment
    assert environment["XDG_DATA_HOME"] == str(tmp_path / "data")
    assert environment["HOME"] == str(tmp_path)

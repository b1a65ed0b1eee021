"""Commands find the project, its pool and the user's store from wherever they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_cli.place import find_place, network_in
from hermit_proxy.errors import InputError, UsageError
from tests.support.recorded import RecordedProject


def test_a_command_in_a_subfolder_works_on_the_project_above(tmp_path: Path) -> None:
    project = RecordedProject(tmp_path / "p")
    (project.root / "deep/er").mkdir(parents=True)
    os.chdir(project.root / "deep/er")
    assert find_place().network == project.network


def test_a_snapshot_that_is_named_must_be_there(tmp_path: Path) -> None:
    RecordedProject(tmp_path / "p")
    with pytest.raises(UsageError, match="there is no snapshot at nowhere"):
        find_place(Path("nowhere"))


def test_the_settings_name_the_pool_before_the_repository_does(tmp_path: Path) -> None:
    project = RecordedProject(tmp_path / "p")
    assert find_place().pool == find_place().project.pool()
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit/config.yaml"
    config.parent.mkdir()
    config.write_text(f"pool: shared\nstore: {tmp_path}/elsewhere\n")
    place = find_place(project.network.parent)
    assert place.pool == "shared"
    with place.store() as store:
        assert store.where == f"{tmp_path}/elsewhere"


def test_a_mistake_in_the_settings_is_told_with_its_line() -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hermit/config.yaml"
    config.parent.mkdir()
    config.write_text("pool: a\nstorr: /x\n")
    with pytest.raises(InputError, match=r"config\.yaml:2: .*storr"):
        find_place()


@pytest.mark.parametrize("inner", [".hermit/network", "network", "."])
def test_a_folder_may_be_the_project_or_its_hermit_folder_or_the_snapshot(tmp_path: Path, inner: str) -> None:
    (tmp_path / inner).mkdir(parents=True, exist_ok=True)
    assert network_in(tmp_path) == tmp_path / inner


@pytest.mark.parametrize(
    ("snapshot", "own"),
    [
        (".hermit/network", True),
        (".hermit/other", True),
        ("elsewhere", True),
        ("part/.hermit/network", False),
        ("../other/.hermit/network", False),
    ],
)
def test_a_run_belongs_to_the_project_that_its_snapshot_is_in(tmp_path: Path, snapshot: str, own: bool) -> None:
    project = RecordedProject(tmp_path / "p")
    assert find_place().has_run((project.root / snapshot).resolve()) is own

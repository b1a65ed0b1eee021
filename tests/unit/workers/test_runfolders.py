"""Makes folders of runs and sweeps those of the dead; tests/unit/cli/test_runs.py kills a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_workers.runfolders import RunFolders


@pytest.fixture
def folders(tmp_path: Path) -> RunFolders:
    return RunFolders(tmp_path, frozenset({"log", "out"}))


def test_of_a_run_that_is_over_only_what_stays_is_left(folders: RunFolders) -> None:
    rundir, lock = folders.fresh()
    (rundir / "log").touch()
    (rundir / "out/deep").mkdir(parents=True)
    (rundir / "cell/upper").mkdir(parents=True)
    (rundir / "key.pem").touch()
    folders.sweep(5)
    assert (rundir / "cell").exists(), "the run is alive"
    os.close(lock)
    folders.sweep(5)
    assert sorted(path.name for path in rundir.iterdir()) == ["log", "out"]


def test_a_run_that_left_nothing_goes_as_a_whole_and_of_the_others_the_oldest(folders: RunFolders) -> None:
    kept = []
    for number in range(4):
        rundir, lock = folders.fresh()
        if number != 1:
            (rundir / "log").touch()
            kept.append(rundir)
        os.close(lock)
    folders.sweep(2)
    assert folders.all() == kept[1:]


def test_what_a_person_puts_there_is_left_alone(folders: RunFolders, tmp_path: Path) -> None:
    (tmp_path / "2026-copy/cell").mkdir(parents=True)
    folders.sweep(0)
    assert (tmp_path / "2026-copy/cell").exists()


def test_where_there_is_no_folder_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    RunFolders(tmp_path / "none", frozenset()).sweep(0)

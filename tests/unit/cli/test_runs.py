"""Makes, kills and sweeps folders of runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hermit_cli import runs
from hermit_proxy.errors import HermitError, UsageError


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def names(state: dict[str, str]) -> list[str]:
    return sorted(path.name for path in runs.runs_dir(state).iterdir())


def test_a_run_leaves_its_log_and_its_result_and_nothing_else(state: dict[str, str]) -> None:
    with runs.run_folder(state) as rundir:
        assert rundir.stat().st_mode & 0o777 == 0o700
        (rundir / "cell" / "cache").mkdir(parents=True)
        (rundir / "ca-key.pem").touch()
        (rundir / runs.LOG_NAME).write_text("{}\n")
        runs.write_result(rundir, {"exit_code": 0})
    assert sorted(path.name for path in rundir.iterdir()) == [runs.LOG_NAME, runs.RESULT_NAME]


def test_a_run_without_a_log_leaves_nothing(state: dict[str, str]) -> None:
    with pytest.raises(ZeroDivisionError), runs.run_folder(state):
        _ = 1 / 0
    assert names(state) == []


def test_folders_that_a_tool_made_read_only_go_as_well_and_links_are_not_followed(
    state: dict[str, str], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o500)
    with runs.run_folder(state) as rundir:
        cache = rundir / "cell" / "module"
        cache.mkdir(parents=True)
        (cache / "go.mod").touch(mode=0o444)
        (cache / "link").symlink_to(mine)
        cache.chmod(0o500)
    assert names(state) == []
    assert mine.stat().st_mode & 0o777 == 0o500


def test_what_a_killed_run_left_is_swept_and_a_living_one_is_not(state: dict[str, str]) -> None:
    code = "import os,sys,time; from hermit_cli import runs\nwith runs.run_folder(os.environ) as r:\n"
    code += " (r/'cell').mkdir(); (r/'requests.jsonl').touch(); print(r, flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **state}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        rundir = Path(process.stdout.readline().strip())
        runs.sweep(state)
        assert (rundir / "cell").exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    runs.sweep(state)
    assert [path.name for path in rundir.iterdir()] == [runs.LOG_NAME]


def test_the_oldest_logs_go(state: dict[str, str]) -> None:
    kept = []
    for _ in range(5):
        with runs.run_folder(state) as rundir:
            (rundir / runs.LOG_NAME).touch()
            kept.append(rundir.name)
    runs.sweep(state, keep=3)
    assert names(state) == kept[2:]


def test_a_log_is_found_by_file_and_by_run(state: dict[str, str], tmp_path: Path) -> None:
    with runs.run_folder(state) as first:
        (first / runs.LOG_NAME).touch()
    (tmp_path / "some.jsonl").touch()
    assert runs.find_log(first.name, state) == first / runs.LOG_NAME
    assert runs.find_log(str(tmp_path / "some.jsonl"), state) == tmp_path / "some.jsonl"
    with pytest.raises(UsageError, match="no log of a run 'other'"):
        runs.find_log("other", state)


def test_results_come_with_their_logs_and_the_last_run_first(state: dict[str, str]) -> None:
    for number in range(4):
        with runs.run_folder(state) as rundir:
            if number != 2:
                (rundir / runs.LOG_NAME).touch()
            runs.write_result(rundir, {"number": number})
    (rundir / runs.RESULT_NAME).write_text("{")  # written half
    assert [(log.name, fields["number"]) for log, fields in runs.results(state)] == [
        (runs.LOG_NAME, 1),
        (runs.LOG_NAME, 0),
    ]


def test_a_state_folder_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HermitError, match="cannot write"), runs.run_folder({"XDG_STATE_HOME": str(tmp_path / "file")}):
        pass


@pytest.mark.parametrize("copy", ["nowhere/log", "."])
def test_a_log_that_could_not_be_copied_is_told_before_the_run(copy: str) -> None:
    runs.check_copy(Path("log"))
    with pytest.raises(UsageError, match="the log cannot be written"):
        runs.check_copy(Path(copy))

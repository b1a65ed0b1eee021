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


def test_a_result_that_cannot_be_written_is_a_warning_and_no_half_of_it_is_left(
    state: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with runs.run_folder(state) as rundir:
        (rundir / runs.LOG_NAME).touch()
        (rundir / runs.RESULT_NAME).symlink_to("/dev/full")
        runs.write_result(rundir, {"exit_code": 0})
    assert [path.name for path in rundir.iterdir()] == [runs.LOG_NAME]
    said = capsys.readouterr().err
    assert f"cannot write {rundir / runs.RESULT_NAME}: No space left on device" in said


def test_a_log_that_cannot_be_copied_is_a_warning_and_the_log_is_where_it_was(
    state: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with runs.run_folder(state) as rundir:
        (rundir / runs.LOG_NAME).write_text("{}\n")
        assert runs.keep_log(rundir, Path("/dev/full")) == rundir / runs.LOG_NAME
    assert "cannot write the log to /dev/full: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("call", ["os.open", "fcntl.flock", "os.scandir"])
def test_a_run_that_is_killed_at_its_beginning_leaves_nothing_after_the_next_sweep(
    state: dict[str, str], call: str
) -> None:
    # Killed where the folder has no lock yet, where the lock is not held yet, and where it is.
    code = f"""
import os, fcntl, signal
from hermit_cli import runs
real = {call}
def end(*arguments, **options):
    last = isinstance(arguments[0], int) or str(arguments[0]).endswith("lock") or "{call}" == "os.scandir"
    locks.append(last)
    if last and len([one for one in locks if one]) > ("{call}" == "fcntl.flock"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
locks = []
{call} = end
with runs.run_folder(os.environ):
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **state}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(names(state)) == 1
    runs.sweep(state)
    assert names(state) == []


def test_a_run_under_way_is_not_swept_while_it_makes_its_folder(
    state: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps: list[subprocess.Popen[bytes]] = []
    real = os.open
    sweep = "import os; from hermit_cli import runs; print(flush=True); runs.sweep(os.environ)"

    def slowly(path: Path, *arguments: int, **options: int) -> int:
        if str(path).endswith("lock") and not sweeps:
            sweeping = subprocess.Popen(
                [sys.executable, "-c", sweep], env={**os.environ, **state}, stdout=subprocess.PIPE
            )
            sweeps.append(sweeping)
            assert sweeping.stdout is not None
            sweeping.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):  # it waits
                sweeping.wait(0.5)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", slowly)
    with runs.run_folder(state) as rundir:
        assert sweeps[0].wait(60) == 0
        assert rundir.is_dir()
    assert sweeps[0].stdout is not None
    sweeps[0].stdout.close()


@pytest.mark.parametrize("name", ["1-copy", "20260101T000000", "20260101T000000-123456abcd.old", "2026"])
def test_what_a_person_puts_beside_the_runs_is_neither_read_nor_swept(state: dict[str, str], name: str) -> None:
    mine = runs.runs_dir(state) / name
    (mine / "notes").mkdir(parents=True)
    (mine / runs.LOG_NAME).touch()
    (mine / runs.RESULT_NAME).write_text("{}")
    runs.sweep(state, keep=0)
    assert (mine / "notes").is_dir()
    assert list(runs.results(state)) == []


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("20261121T135400-123456abcd", "2026-11-21 13:54 UTC"),
        ("20261399T990000-123456abcd", "20261399T990000-123456abcd"),
        ("mine", "mine"),
    ],
)
def test_a_run_began_when_its_name_says_and_a_strange_name_is_told_itself(name: str, when: str) -> None:
    assert runs.began(Path("/runs", name)) == when


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

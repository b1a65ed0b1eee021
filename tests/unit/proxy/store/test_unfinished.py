"""A sweep removes what the dead left, and nothing of the living."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hermit_proxy.store.unfinished import Unfinished, locked, sweep_unfinished

KILLED = """
import os, signal, sys
from pathlib import Path
from hermit_proxy.store.unfinished import Unfinished
Unfinished(Path(sys.argv[1])).write(b"half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_of_a_living_writer_is_not_swept(tmp_path: Path) -> None:
    file = Unfinished(tmp_path)
    file.write(b"whole")
    assert sweep_unfinished(tmp_path, dry_run=False) == 0
    file.publish(tmp_path.parent / "there", mode=0o400)
    assert (tmp_path.parent / "there").read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_killed_writer_is_swept(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"half"]
    assert sweep_unfinished(tmp_path, dry_run=True) == 1
    assert len(list(tmp_path.iterdir())) == 1
    assert sweep_unfinished(tmp_path, dry_run=False) == 1
    assert list(tmp_path.iterdir()) == []


def test_links_and_pipes_neither_hang_a_sweep_nor_lead_it_elsewhere(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "tmp", tmp_path / "precious"
    folder.mkdir()
    elsewhere.write_bytes(b"x")
    (folder / "link").symlink_to(elsewhere)
    os.mkfifo(folder / "pipe")
    sweep_unfinished(folder, dry_run=False)
    assert elsewhere.read_bytes() == b"x"


def test_a_dropped_file_is_gone_and_dropping_twice_is_safe(tmp_path: Path) -> None:
    file = Unfinished(tmp_path)
    file.drop()
    file.drop()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_whose_new_file_is_swept_before_it_is_locked_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = fcntl.flock, []

    def sweep_first(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            for path in tmp_path.iterdir():
                path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    file = Unfinished(tmp_path)
    assert file.path.exists()
    assert len(calls) == 2
    file.drop()


def test_a_lock_keeps_out_other_threads_of_the_same_process(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with locked(tmp_path / "lock"):
            entered.set()

    with locked(tmp_path / "lock", shared=True):
        thread = threading.Thread(target=enter)
        thread.start()
        with locked(tmp_path / "lock", shared=True):
            assert not entered.is_set()
    thread.join(30)
    assert entered.is_set()

"""Holds real processes by this machine's control groups; test_groupfiles.py has layouts that this machine lacks."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import cgroups, groupfiles
from hermit_workers.sandbox.limits.cgroups import Cgroup, sweep
from tests.support.groups import made_up

_LIMITS = Limits(memory=64 << 20, processes=20)
_SECOND_VERSION = Path("/sys/fs/cgroup/unified")


@pytest.fixture
def group() -> Iterator[Cgroup]:
    found = Cgroup.make(_LIMITS)
    if found is None or found.holds < {"memory", "processes"}:
        if found is not None:
            found.remove()
        pytest.skip("this user may make no control groups here")
    folders = set(found._folders.values())
    yield found
    found.remove()
    settled()
    assert not any(folder.exists() for folder in folders)


def settled() -> None:
    """Wait for the threads that remove groups."""
    for thread in threading.enumerate():
        if "_thd_remove" in thread.name:
            thread.join(10)


@contextmanager
def waiting(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Python that waits for a line, so that it can be put into a group before it does anything."""
    running = subprocess.Popen(
        [sys.executable, "-c", f"import os,sys,signal; sys.stdin.readline(); {program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def test_too_much_memory_is_killed_and_said(group: Cgroup) -> None:
    with waiting("x = b'x' * (200 << 20)") as running:
        group.add(running.pid)
        assert group.processes() == [running.pid]
        assert group.exceeded() is None
        running.communicate(b"\n")
    assert running.returncode == -9
    assert group.exceeded() == "memory: the build needs more than 64 MiB (limits: memory)"


def test_memory_within_the_limit_is_nobodys_business(group: Cgroup) -> None:
    with waiting("x = b'x' * (10 << 20)") as running:
        group.add(running.pid)
        running.communicate(b"\n")
    assert running.returncode == 0
    assert group.exceeded() is None


def test_files_that_are_read_and_written_are_no_memory(group: Cgroup, tmp_path: Path) -> None:
    # They fill the group up to its limit, which the kernel counts as well (failcnt): it is no reason to end a build.
    program = f"f = open({str(tmp_path / 'f')!r}, 'wb'); [f.write(bytes(1 << 20)) for _ in range(150)]"
    with waiting(program) as running:
        group.add(running.pid)
        running.communicate(b"\n")
    assert running.returncode == 0
    assert group.exceeded() is None


_FORKS = """
for _ in range(100):
    try:
        if os.fork() == 0: signal.pause()
    except OSError:
        break
print('done', flush=True); signal.pause()
"""


def test_a_fork_bomb_stops_at_the_limit_and_is_removed_whole(group: Cgroup) -> None:
    with waiting(f"exec({_FORKS!r})") as running:
        group.add(running.pid)
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"done\n"
        inside = group.processes()
        assert len(inside) == 20
        assert group.exceeded() == "processes: the build wants more than 20 (limits: processes)"
        group.remove()
        settled()
        assert group.processes() == []
        assert running.wait() == -9
        assert not any(alive(process) for process in inside)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def test_removing_twice_is_safe(group: Cgroup) -> None:
    group.remove()
    group.remove()


def locked(folder: Path) -> subprocess.Popen[bytes]:
    """Make a group as another Hermit does, which lives until it is killed."""
    program = "import sys, time; from pathlib import Path; from hermit_workers.sandbox.limits import cgroups; "
    program += "f = Path(sys.argv[1]); f.mkdir(); l = cgroups._lock(f); print('here', flush=True); time.sleep(600)"
    running = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"here\n"
    return running


def end(running: subprocess.Popen[bytes]) -> None:
    running.kill()
    running.communicate()


def a_name(number: int = 999_999_999) -> str:
    return f"hermit-cell-{number}-{secrets.token_hex(8)}"


def swept(folders: list[Path]) -> bool:
    """Sweep until they are gone: another Hermit of this machine may be at it as well, and have one of them locked."""
    for _ in range(500):
        sweep()
        if not any(folder.exists() for folder in folders):
            return True
        time.sleep(0.02)
    return False


def test_what_a_dead_hermit_left_is_swept_when_nothing_runs_there_any_more(group: Cgroup) -> None:
    leftovers = [folder.with_name(a_name(os.getpid())) for folder in set(group._folders.values())]
    for folder in leftovers:
        folder.mkdir()
    with waiting("signal.pause()") as running:
        for folder in leftovers:
            (folder / "cgroup.procs").write_text(str(running.pid))
        sweep()
        assert running.poll() is None, "a holder that removes its cell's files was killed"
        assert all(folder.is_dir() for folder in leftovers)
        running.kill()
        running.wait()
    assert swept(leftovers)
    assert all(folder.is_dir() for folder in group._folders.values()), "a living hermit's group was taken"


def test_a_living_hermits_empty_group_stays_and_goes_with_it(group: Cgroup) -> None:
    (own,) = {folder for held, folder in group._folders.items() if held == "memory"}
    folder = own.with_name(a_name())
    running = locked(folder)
    try:
        sweep()
        assert folder.is_dir()
    finally:
        end(running)
    assert swept([folder])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes another time namespace of a clock that is not its own")
def test_a_sweep_with_another_clock_and_other_numbers_takes_no_living_hermits_group(group: Cgroup) -> None:
    # A control group is made before anybody is in it: only then can it be taken by mistake.
    (own,) = {folder for held, folder in group._folders.items() if held == "memory"}
    dead = own.with_name(a_name())
    dead.mkdir()
    program = "from hermit_workers.sandbox.limits import cgroups; print(cgroups.sweep())"
    command = ["unshare", "--time", "--boottime", "100000", "--pid", "--fork", "--mount-proc"]
    done = subprocess.run([*command, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        dead.rmdir()
        pytest.skip(f"no time namespace here: {done.stderr}")
    assert own.is_dir()
    assert swept([dead])
    assert done.stdout.strip().isdecimal()


def test_what_was_left_in_a_group_beside_ours_is_swept_and_a_living_hermits_stays(tmp_path: Path) -> None:
    proc, top = made_up(tmp_path, "/user/ours", {"": "memory pids", "user": "", "user/ours": "", "user/theirs": ""})
    dead, living = (top / "user/theirs" / a_name() for _ in range(2))
    dead.mkdir()
    running = locked(living)
    try:
        assert sweep(proc=proc) == 1
        assert not dead.exists()
        assert living.exists()
    finally:
        end(running)


def test_what_somebody_looks_at_while_it_is_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, top = made_up(tmp_path, "/ours", {"": "memory pids", "ours": ""})
    lock, looks = cgroups._lock, iter((True, True, False))
    monkeypatch.setattr(cgroups, "_lock", lambda folder: folder.rmdir() if next(looks) else lock(folder))
    found = Cgroup.make(_LIMITS, proc=proc)
    assert found is not None
    assert found.holds == {"memory", "processes"}
    monkeypatch.setattr(cgroups, "_lock", lambda folder: folder.rmdir())
    assert Cgroup.make(_LIMITS, proc=proc) is None
    assert len(list(top.glob("hermit-cell-*"))) == 1


def test_a_lock_is_on_what_is_there(tmp_path: Path) -> None:
    assert cgroups._lock(tmp_path / "no") is None
    lock = cgroups._lock(tmp_path)
    assert lock is not None
    assert cgroups._lock(tmp_path) is None
    os.close(lock)


def test_what_is_not_named_by_hermit_is_not_swept(group: Cgroup) -> None:
    (own,) = {folder for held, folder in group._folders.items() if held == "memory"}
    others = [own.with_name(name) for name in ("hermit-main", "hermit-1-2-3", f"{a_name()}-x")]
    for folder in others:
        folder.mkdir()
    try:
        sweep()
        assert all(folder.is_dir() for folder in others)
    finally:
        for folder in others:
            folder.rmdir()


def test_one_of_two_groups_that_takes_nobody_is_dropped_and_the_other_one_holds(group: Cgroup) -> None:
    """Version 1 has one for each controller, and who may move a process into the first may not into the second."""
    if len(set(group._folders.values())) == 1:
        pytest.skip("one hierarchy has both controllers here")
    refusing = group._folders["processes"]
    (refusing / "pids.max").write_text("0\n")
    group._folders["processes"] = refusing / "no-such"
    group._locks[refusing / "no-such"] = group._locks.pop(refusing)
    with waiting("x = b'x' * (200 << 20)") as running:
        group.add(running.pid)
        assert group.holds == {"memory"}
        assert running.poll() is None, "what was half moved was killed"
        assert group.processes() == [running.pid]
        running.communicate(b"\n")
    assert running.returncode == -9
    assert group.exceeded() == "memory: the build needs more than 64 MiB (limits: memory)"
    with contextlib.suppress(FileNotFoundError):  # nobody's lock is on it now: a sweep of somebody else may be faster
        refusing.rmdir()


def test_a_group_that_takes_nobody_is_removed_and_holds_nothing(tmp_path: Path) -> None:
    proc, top = made_up(tmp_path, "/a", {"": "memory pids", "a": ""})
    found = Cgroup.make(_LIMITS, proc=proc)
    assert found is not None
    (folder,) = set(found._folders.values())
    for file in folder.iterdir():  # a control group's files are no hindrance to remove it
        file.unlink()
    (folder / "cgroup.procs").symlink_to("/nonexistent/moving/fails")
    found.add(os.getpid())
    assert found.holds == set()
    assert found.exceeded() is None
    (folder / "cgroup.procs").unlink()
    found.remove()
    assert top.is_dir()


def test_removing_does_not_wait_for_what_takes_its_time_to_die(group: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(cgroups, "_kill", lambda folder: started.append((folder, threading.current_thread())))
    monkeypatch.setattr(cgroups, "_PATIENCE", 0.1)
    with waiting("signal.pause()") as running:
        group.add(running.pid)
        folders = set(group._folders.values())
        group.remove()
        settled()
        assert {folder for folder, thread in started if thread is not threading.main_thread()} == folders
        assert all(folder.is_dir() for folder in folders), "it was to be too slow"
    assert swept(list(folders))


@pytest.mark.skipif(
    not os.access(_SECOND_VERSION / "cgroup.procs", os.W_OK), reason="no version 2 that this user may write to"
)
def test_version_2_kills_and_removes_a_whole_group() -> None:
    # Its controllers are bound to version 1 on a machine that has both, so this is all of it that can be tried there.
    folder = _SECOND_VERSION / f"hermit-test-{os.getpid()}"
    folder.mkdir()
    with waiting(f"exec({_FORKS!r})") as running:
        (folder / "cgroup.procs").write_text(str(running.pid))
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"\n")
        running.stdin.flush()
        running.stdout.readline()
        inside = cgroups._processes(folder)
        assert len(inside) > 50
        assert (folder / "cgroup.kill").exists()
        cgroups._thd_remove(folder)
        assert running.wait() == -9
    assert not folder.exists()
    assert not any(alive(process) for process in inside)


def test_version_2_is_read_by_its_own_files(tmp_path: Path) -> None:
    proc, top = made_up(tmp_path, "/a", {"": "memory pids", "a": ""})
    found = Cgroup.make(_LIMITS, proc=proc)
    assert found is not None
    assert found.holds == {"memory", "processes"}
    (folder,) = set(found._folders.values())
    assert folder.parent == top
    written = {file.name: file.read_text().strip() for file in folder.iterdir()}
    assert written == {"memory.max": str(64 << 20), "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "20"}
    assert found.exceeded() is None
    (folder / "pids.events").write_text("max 3\n")
    assert found.exceeded() == "processes: the build wants more than 20 (limits: processes)"
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 1\n")
    assert found.exceeded() == "memory: the build needs more than 64 MiB (limits: memory)"


def test_where_no_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    proc, _ = made_up(tmp_path, "/a", {"": "", "a": ""})
    assert Cgroup.make(_LIMITS, proc=proc) is None
    (proc / "self/mountinfo").write_text("")
    assert Cgroup.make(_LIMITS, proc=proc) is None
    assert groupfiles.hierarchies(proc) == []

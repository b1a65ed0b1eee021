"""Holds real processes by this machine's control groups; test_groupfiles.py has layouts that this machine lacks."""

from __future__ import annotations

import os
import subprocess
import sys
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
    yield found
    found.remove()
    assert not any(folder.exists() for folder in found._folders.values())


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


def test_what_a_dead_hermit_left_is_swept_when_nothing_runs_there_any_more(group: Cgroup) -> None:
    # A process of that number lives, but it is a younger one.
    names = {held: folder.name for held, folder in group._folders.items()}
    for held, folder in group._folders.items():
        prefix, namespace, process, _, _ = names[held].split("-")
        folder.with_name(f"{prefix}-{namespace}-{process}-1-1").mkdir()
    leftovers = [folder.with_name(folder.name.rsplit("-", 2)[0] + "-1-1") for folder in group._folders.values()]
    assert all(folder.is_dir() for folder in leftovers)
    with waiting("signal.pause()") as running:
        for folder in leftovers:
            (folder / "cgroup.procs").write_text(str(running.pid))
        sweep()
        assert running.poll() is None, "a holder that removes its cell's files was killed"
        assert all(folder.is_dir() for folder in leftovers)
        running.kill()
        running.wait()
    assert sweep() >= len(leftovers)
    assert not any(folder.exists() for folder in leftovers)
    assert all(folder.is_dir() for folder in group._folders.values()), "a living hermit's group was taken"


def test_what_was_left_in_a_group_beside_ours_is_swept_and_a_living_hermits_stays(tmp_path: Path) -> None:
    proc, top = made_up(tmp_path, "/user/ours", {"": "memory pids", "user": "", "user/ours": "", "user/theirs": ""})
    (proc / "self/ns/pid").unlink()
    (proc / "self/ns/pid").symlink_to("/proc/self/ns/pid")
    prefix = cgroups._own_prefix(proc)
    namespace = prefix.split("-")[1]
    dead, living = (top / "user/theirs" / name for name in (f"hermit-{namespace}-999999999-1-1", f"{prefix}7"))
    dead.mkdir()
    living.mkdir()
    assert sweep(proc=proc) == 1
    assert not dead.exists()
    assert living.exists()


def test_a_group_stays_where_nothing_can_be_read_of_its_hermit(tmp_path: Path) -> None:
    proc, top = made_up(tmp_path, "/ours", {"": "memory pids", "ours": ""})
    group = top / (cgroups._own_prefix(proc) + "1")
    group.mkdir()
    stat = proc / str(os.getpid()) / "stat"
    stat.unlink()
    stat.symlink_to("stat")  # a loop
    assert sweep(proc=proc) == 0
    assert group.exists()
    stat.unlink()
    assert sweep(proc=proc) == 1


def test_what_is_not_named_by_hermit_is_not_swept(group: Cgroup) -> None:
    (own,) = {folder for held, folder in group._folders.items() if held == "memory"}
    namespace = own.name.split("-")[1]
    others = [
        own.with_name("hermit-main"),
        own.with_name("hermit-1-2-3"),
        own.with_name(f"hermit-{int(namespace) + 1}-999999999-1-1"),  # whose processes another namespace counts
    ]
    for folder in others:
        folder.mkdir()
    try:
        sweep()
        assert all(folder.is_dir() for folder in others)
    finally:
        for folder in others:
            folder.rmdir()


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
        cgroups._remove(folder)
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

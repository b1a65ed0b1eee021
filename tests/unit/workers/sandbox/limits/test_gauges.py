"""Measures real processes, and real file systems in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermit_workers.sandbox.limits import gauges
from hermit_workers.sandbox.limits.gauges import Use, free_space, in_pid_namespace, measure, used_segments, used_space

_MIB = 1 << 20


@contextmanager
def holding(program: str) -> Iterator[list[int]]:
    """Run a program that prints its processes' numbers when it has what it wants, and then waits."""
    running = subprocess.Popen(
        [sys.executable, "-c", f"import os,sys,mmap,signal,threading\n{program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert running.stdout is not None
    try:
        yield [int(word) for word in running.stdout.readline().split()]
    finally:
        running.communicate()


_END = "print(os.getpid(), flush=True); sys.stdin.read()"


def test_a_process_that_has_gone_uses_nothing() -> None:
    assert measure(2**22 + 1, exact=False) == Use()
    assert measure(2**22 + 1, exact=True) == Use()


@pytest.mark.parametrize("exact", [False, True])
def test_memory_of_a_process_is_its_own(*, exact: bool) -> None:
    with holding(f"x = b'x' * ({100 * _MIB})\n{_END}") as (process,):
        use = measure(process, exact=exact)
        assert 100 * _MIB < use.own < 150 * _MIB
        assert use.shared < 10 * _MIB
        assert use.threads == 1


@pytest.mark.parametrize("exact", [False, True])
def test_memory_that_can_be_shared_is_seen(*, exact: bool) -> None:
    program = f"m = mmap.mmap(-1, {100 * _MIB})\nfor i in range(0, len(m), 4096): m[i] = 1\n{_END}"
    with holding(program) as (process,):
        assert 100 * _MIB <= measure(process, exact=exact).shared < 110 * _MIB


def test_memory_that_is_reserved_only_is_not_counted() -> None:
    with holding(f"m = mmap.mmap(-1, 1 << 42, flags=0x4022)\n{_END}") as (process,):
        assert measure(process, exact=False).own < 50 * _MIB


def test_what_forks_share_is_counted_once_where_it_must_be_exact() -> None:
    program = f"""
x = b'x' * {100 * _MIB}
r, w = os.pipe()
found = [os.getpid()]
for _ in range(4):
    process = os.fork()
    if process == 0:
        os.close(w); os.read(r, 1); os._exit(0)
    found.append(process)
print(*found, flush=True); sys.stdin.read()
"""
    with holding(program) as processes:
        assert len(processes) == 5
        fast, exact = (sum((measure(p, exact=e) for p in processes), Use()) for e in (False, True))
        assert fast.own > 500 * _MIB
        assert 100 * _MIB < exact.own < 150 * _MIB


def test_threads_are_counted() -> None:
    program = "for _ in range(9): threading.Thread(target=signal.pause, daemon=True).start()\n"
    with holding(program.replace("signal.pause", "threading.Event().wait") + _END) as (process,):
        assert measure(process, exact=False).threads == 10


def test_mapped_parts_of_memory_files_are_not_counted_twice() -> None:
    assert Use(own=1, shared=5).sum(3) == 6
    assert Use(own=1, shared=5).sum(8) == 9


def test_processes_are_found_by_their_namespace() -> None:
    found = in_pid_namespace(Path("/proc/self/ns/pid").stat().st_ino)
    assert os.getpid() in found
    assert in_pid_namespace(1) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a namespace without another")
def test_processes_of_another_namespace_are_found_and_no_others() -> None:
    argv = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 60 & sleep 60 & echo; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            running.stdout.readline()
            (first,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            found = in_pid_namespace(Path(f"/proc/{first}/ns/pid").stat().st_ino)
            assert len(found) == 3
            assert int(first) in found
            assert running.pid not in found
        finally:
            running.kill()


def test_a_file_in_memory_is_seen_in_its_file_system() -> None:
    descriptor = os.open("/dev/shm", os.O_RDONLY | os.O_DIRECTORY)  # noqa: S108  the file system itself is asked
    try:
        before = used_space(descriptor)
        file = os.open(".", os.O_TMPFILE | os.O_WRONLY, dir_fd=descriptor)
        os.write(file, b"x" * 8 * _MIB)
        assert used_space(descriptor) - before >= 7 * _MIB
        os.close(file)
        assert free_space(descriptor) > 0
    finally:
        os.close(descriptor)


def test_the_machine_has_some_memory_left() -> None:
    assert 0 < gauges.available() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")


_SEGMENT = """
import ctypes
l = ctypes.CDLL(None); l.shmat.restype = ctypes.c_void_p
i = l.shmget(0, 5 << 20, 0o1600); a = l.shmat(i, None, 0); ctypes.memset(a, 1, 3 << 20); l.shmdt(ctypes.c_void_p(a))
t = os.open("/proc/sysvipc/shm", os.O_RDONLY)
print(os.getpid(), t, flush=True); sys.stdin.read(); l.shmctl(i, 0, None)
"""


def test_a_segment_that_nobody_has_attached_is_counted_for_what_it_takes(tmp_path: Path) -> None:
    with (tmp_path / "none").open("wb+") as file:
        file.write(b"key shmid\n")
        file.flush()
        assert used_segments(file.fileno()) == 0
    with open("/proc/sysvipc/shm", "rb") as table:
        before = used_segments(table.fileno())
        with holding(_SEGMENT):
            for _ in range(2):  # read again and again
                assert used_segments(table.fileno()) - before == pytest.approx(3 * _MIB, abs=_MIB / 4)
        assert used_segments(table.fileno()) == pytest.approx(before, abs=_MIB / 4)

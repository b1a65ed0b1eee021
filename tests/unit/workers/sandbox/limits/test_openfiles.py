"""Finds files that have lost their names in real processes, open and mapped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermit_workers.sandbox.limits import openfiles
from hermit_workers.sandbox.limits.openfiles import Nameless, nameless

_MIB = 1 << 20
_ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="the kernel tells others' mappings to root alone")


# Python's own mmap keeps the file open as well.
_MAPS = "c = ctypes.CDLL(None); c.mmap.restype = ctypes.c_void_p; "
_MAPS += "shared = lambda file, size, how=1: c.mmap(None, size, 3, how, file, 0)"


@contextmanager
def keeping(program: str, folder: Path) -> Iterator[int]:
    """Start a process that keeps 3 MiB somewhere (`data`), in the given folder; give its number."""
    begin = f"import ctypes, os, sys; data = b'x' * {3 * _MIB}; {_MAPS}; {program}; print('here', flush=True)"
    command = [sys.executable, "-c", f"{begin}; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"here\n"
        yield running.pid
        running.communicate()


def found(process: int, folder: Path) -> Nameless:
    *_, last = nameless([process, 999_999_999], {os.stat(folder).st_dev})
    return last


_OPEN = "f = open('file', 'w+b', buffering=0); f.write(data)"
_MEMORY = "f = open(os.memfd_create('x'), 'w+b', buffering=0); f.write(data)"
_SHARED = "ctypes.memmove(shared(-1, len(data), 0x21), data, len(data))"


@pytest.mark.parametrize(
    ("program", "disk", "memory"),
    [
        (_OPEN, 0, 0),  # the control: a walk counts it by its name
        (f"{_OPEN}; os.unlink('file')", 3, 0),
        (f"{_OPEN}; os.unlink('file'); g = os.dup(f.fileno()); shared(g, 4096)", 3, 0),
        (f"{_OPEN}; os.link('file', 'other'); os.unlink('file')", 0, 0),
        (_MEMORY, 0, 3),
        (f"{_MEMORY}; f.truncate(1 << 30)", 0, 3),
        pytest.param(f"{_OPEN}; shared(f.fileno(), 4096); f.close()", 0, 0, marks=_ROOT_ONLY),
        pytest.param(f"{_OPEN}; shared(f.fileno(), 4096); f.close(); os.unlink('file')", 3, 0, marks=_ROOT_ONLY),
        pytest.param(f"{_MEMORY}; shared(f.fileno(), 4096); f.close()", 0, 3, marks=_ROOT_ONLY),
        pytest.param(_SHARED, 0, 3, marks=_ROOT_ONLY),
    ],
    ids=["named", "unlinked", "twice", "linked", "memory", "hole", "mapped", "unlinked map", "memory map", "shared"],
)
def test_what_has_no_name_is_counted_once(tmp_path: Path, program: str, disk: int, memory: int) -> None:
    with keeping("pass", tmp_path) as process:
        before = found(process, tmp_path)
    with keeping(program, tmp_path) as process:
        after = found(process, tmp_path)
    assert after.disk - before.disk == pytest.approx(disk * _MIB, abs=_MIB / 4)
    assert after.memory - before.memory == pytest.approx(memory * _MIB, abs=_MIB / 4)


def test_what_is_on_another_disk_is_not_the_cells(tmp_path: Path) -> None:
    with keeping(f"{_OPEN}; os.unlink('file')", tmp_path) as process:
        *_, last = nameless([process], {1 << 30})
    assert last.disk == 0


def test_a_segment_is_left_to_the_table_of_segments(tmp_path: Path) -> None:
    program = "l = ctypes.CDLL(None); l.shmat.restype = ctypes.c_void_p; i = l.shmget(0, len(data), 0o1600); "
    program += "a = l.shmat(i, None, 0); l.shmctl(i, 0, None); ctypes.memset(a, 1, len(data))"
    with keeping(program, tmp_path) as process:
        assert "/SYSV" in Path(f"/proc/{process}/maps").read_text()
        assert found(process, tmp_path).memory < _MIB


def test_it_tells_now_and_then_and_ends_where_nobody_has_that_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openfiles, "_SLICE", 10)
    with keeping("kept = [os.dup(0) for _ in range(95)]", tmp_path) as process:
        told = list(nameless([process], set()))
        assert len(told) > 9
        assert [one.descriptors for one in told] == sorted(one.descriptors for one in told)
        monkeypatch.setattr(openfiles, "MOST", 50)
        *_, last = nameless([process], set())
        assert last.descriptors == 51


def test_beyond_that_many_no_further_process_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openfiles, "MOST", 2)
    with keeping("kept = [os.dup(0) for _ in range(95)]", tmp_path) as process:
        looked = []

        def processes() -> Iterator[int]:
            for number in range(3):
                looked.append(number)
                yield process

        *_, last = nameless(processes(), set())
    assert (last.descriptors, looked) == (3, [0])


@_ROOT_ONLY
def test_a_name_like_a_segments_hides_no_file(tmp_path: Path) -> None:
    program = f"{_OPEN.replace('file', 'SYSVx')}; shared(f.fileno(), 4096); f.close(); os.unlink('SYSVx')"
    with keeping(program, tmp_path) as process:
        lines = Path(f"/proc/{process}/maps").read_text()
        assert "SYSVx (deleted)" in lines
        assert found(process, tmp_path).disk >= 3 * _MIB


def test_a_host_that_tells_no_mappings_hides_nothing_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def refusing(path: str, **how: bool) -> os.stat_result:
        if "map_files" in str(path):
            raise PermissionError
        return stat(path, **how)  # type: ignore[call-overload]  # passed on

    program = f"{_OPEN}; os.unlink('file'); g = open('b', 'w+b'); g.write(data); shared(g.fileno(), 4096); "
    program += "g.close(); os.unlink('b')"
    with keeping(program, tmp_path) as process:
        monkeypatch.setattr(os, "stat", refusing)
        *_, last = nameless([process], {stat(tmp_path).st_dev})
        assert last.disk == pytest.approx(3 * _MIB, abs=_MIB / 4)


def test_mappings_are_named_as_the_kernel_names_their_files(tmp_path: Path) -> None:
    with keeping(_SHARED, tmp_path) as process:
        names = list(openfiles._mapped(process))
        assert names
        assert set(names) <= set(os.listdir(f"/proc/{process}/map_files"))
    assert list(openfiles._mapped(process)) == []

"""Counts what stands in real folders, and tells it through a pipe."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermit_workers.sandbox.limits import disk
from hermit_workers.sandbox.limits.disk import Counter, counted
from hermit_workers.sandbox.limits.openfiles import Nameless

_MIB = 1 << 20


def total(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        *_, last = counted(descriptor)
        assert len(os.listdir("/proc/self/fd")) == before
        return last
    finally:
        os.close(descriptor)


def test_what_was_written_is_counted_as_du_does(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / f"{number % 3}/{number}"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * number * 10_000)
    told = subprocess.run(["du", "--bytes", "--summarize", tmp_path], capture_output=True, check=True).stdout
    assert total(tmp_path) == pytest.approx(int(told.split()[0]), rel=0.2)


def test_holes_are_not_counted_and_hard_links_once(tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "a").write_bytes(b"x" * _MIB)
    for number in range(10):
        os.link(tmp_path / "a", tmp_path / f"link{number}")
    assert _MIB < total(tmp_path) < 2 * _MIB


def test_empty_files_cost_a_block_each(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).touch()
    assert total(tmp_path) >= 1000 * 4096


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * _MIB)
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell/up").symlink_to("..")
    (tmp_path / "cell/big").symlink_to("../big")
    assert total(tmp_path / "cell") < _MIB


def test_a_total_comes_before_the_walk_is_over(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).touch()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    totals = list(counted(descriptor))
    os.close(descriptor)
    assert len(totals) > 3
    assert totals == sorted(totals)


def moved_while_counted(folder: Path, above: Path) -> int:
    """Count a folder beside others, which is moved away while the count is in it; give the last total."""
    above.mkdir(parents=True)
    for name in "abc":
        (above / name).mkdir()
        (above / name / "big").write_bytes(b"x" * _MIB)
        for number in range(600):
            (above / name / str(number)).touch()
    descriptor = os.open(folder / "cell", os.O_RDONLY)
    totals = counted(descriptor)
    next(totals)
    for name in "abc":
        (above / name).rename(folder / name)
        (folder / name).rename(above / f"{name}-again")
    (above / "a-again").rename(folder / "gone")
    *_, last = totals
    os.close(descriptor)
    return last


def test_a_folder_that_is_moved_away_hides_nothing_of_the_rest(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell/0").mkdir()
    (tmp_path / "cell/0/big").write_bytes(b"x" * 5 * _MIB)
    (tmp_path / "cell/2").mkdir()
    (tmp_path / "cell/2/big").write_bytes(b"x" * 5 * _MIB)
    assert 10 * _MIB < moved_while_counted(tmp_path, tmp_path / "cell/1/a/b") < 20 * _MIB


def test_what_is_moved_deeper_than_any_tree_of_use_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_KEPT", 2)
    assert moved_while_counted(tmp_path, tmp_path / "cell/1/2/3/4/5") > 1 << 40


@contextmanager
def reporting(folder: Path) -> Iterator[Counter]:
    """Give the counter of a process as the holder forks it, and have that end."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        signal.alarm(60)
        os.close(read)
        try:
            disk.report(os.open(folder, os.O_RDONLY), folder.stat().st_dev, write)
        finally:
            os._exit(0)
    os.close(write)
    counter = Counter(read)
    try:
        yield counter
    finally:
        counter.close()
        _, status = os.waitpid(process, 0)
        assert status == 0, "it was still counting"


def wait_for(counter: Counter, least: int) -> int:
    for _ in range(300):
        if (latest := counter.latest()) >= least:
            return latest
        time.sleep(0.1)
    raise AssertionError(f"{latest} of {least}")


def test_a_process_counts_again_until_nobody_listens(tmp_path: Path) -> None:
    with reporting(tmp_path) as counter:
        assert counter.latest() >= 0
        (tmp_path / "a").write_bytes(b"x" * _MIB)
        assert wait_for(counter, _MIB) < 2 * _MIB
        (tmp_path / "b").write_bytes(b"x" * _MIB)
        wait_for(counter, 2 * _MIB)
        for _ in range(300):  # first it looks at what has no name
            counter.latest()
            if counter.walks() > 1:
                break
            time.sleep(0.1)
        assert counter.walks() > 1
        counter.close()
        counter.close()


def test_totals_that_come_in_parts_are_put_together() -> None:
    read, write = os.pipe()
    counter = Counter(read)
    assert counter.latest() == 0
    first, second = (struct.pack("<QQQQQ", *numbers) for numbers in ((5, 1, 3, 4, 9), (7, 2, 0, 0, 0)))
    os.write(write, first + second[:9])
    assert (counter.latest(), counter.walks(), counter.hidden()) == (5, 1, Nameless(3, 4, 9))
    os.write(write, second[9:])
    assert (counter.latest(), counter.walks()) == (7, 2)
    os.close(write)
    assert counter.latest() == 7
    counter.close()
    assert counter.latest() == 7


def test_it_tells_what_processes_keep_without_a_name(tmp_path: Path) -> None:
    with reporting(tmp_path) as counter, tempfile.TemporaryFile(dir=tmp_path) as file:
        wait_for(counter, 0)
        file.write(bytes(64 * _MIB))
        file.flush()
        for _ in range(600):
            counter.latest()
            if counter.hidden().disk >= 64 * _MIB:
                break
            time.sleep(0.1)
        assert counter.hidden().disk >= 64 * _MIB
        assert counter.hidden().descriptors > 1
        assert counter.latest() < _MIB

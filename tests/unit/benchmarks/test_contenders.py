"""What a contender cost is read from the kernel, those that it started included."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import contenders
import measure
import pytest

_SIZE = 40 * 10**6
# The child holds the memory and has done the work; the parent has done nothing.
_WORK = f"held = bytearray(b'x' * {_SIZE}); import time\nwhile time.process_time() < 0.3: pass\n"
_CHILD = _WORK + "print('ready', flush=True); input()"
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_CHILD!r}], check=True)"


@pytest.fixture
def parent() -> Iterator[int]:
    command = [sys.executable, "-c", _PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.communicate("\n")


def test_processor_time_and_memory_of_children_count(parent: int) -> None:
    assert contenders.busy(parent) >= 0.28
    assert contenders.resident(parent) >= _SIZE / 1e6
    assert contenders.proportional(parent) >= _SIZE / 1e6


def test_what_a_child_waited_for_a_core_counts(parent: int) -> None:
    of_each = [int(Path(f"/proc/{one}/schedstat").read_text().split()[1]) for one in measure.descendants(parent)]
    assert len(of_each) == 2
    assert contenders.waited(parent) == pytest.approx(sum(of_each) / 1e9)


def test_what_has_gone_costs_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    gone = contenders.busy(process.pid), contenders.resident(process.pid), contenders.waited(process.pid)
    assert gone == (0.0, 0.0, 0.0)

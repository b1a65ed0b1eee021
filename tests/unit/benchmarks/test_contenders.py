"""What a contender cost is read from the kernel, those that it started included."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import contenders
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


def test_what_has_gone_costs_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert (contenders.busy(process.pid), contenders.resident(process.pid)) == (0.0, 0.0)

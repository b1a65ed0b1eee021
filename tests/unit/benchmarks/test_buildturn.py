"""A turn knows what the proxy of a build cost, whatever else ran, and how long somebody waited for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

import buildturn
import measure
import pytest
from buildturn import Meter, Turn, Wire, parsed, union
from distance import Way

MODULE = "a.module"
# Burns processor time in two threads and in one that has ended, says how much, and stays until it is told to go.
WORK = """
import sys, threading, time
def burn():
    begin = time.thread_time()
    while time.thread_time() < begin + 0.1:
        pass
thread = threading.Thread(target=burn)
thread.start()
thread.join()
burn()
print(time.process_time(), flush=True)
sys.stdin.read()
"""
# Starts the process that is meant, after another one that is not.
PARENT = f"""
import os, subprocess, sys
subprocess.run([sys.executable, "-c", "pass"])
sys.exit(subprocess.run([sys.executable, "-c", {WORK!r}, *os.environ["WORDS"].split()]).returncode)
"""


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (5, 6)], 3),
        ([(5, 6), (1, 3)], 3),
        ([(1, 3), (2, 5)], 4),
        ([(1, 9), (2, 3), (4, 5)], 8),
        ([(1, 9), (2, 3), (8, 10)], 9),
        ([(1, 3), (3, 4)], 3),
        ([(1, 3), (1, 3)], 2),
        ([(2, 2)], 0),
    ],
)
def test_requests_that_were_open_at_once_count_once(spans: list[tuple[float, float]], length: float) -> None:
    assert union(spans) == length


def metered(words: str) -> tuple[float, float]:
    """Give what the worker said that it had used, and what was read of it."""
    command, environment = [sys.executable, "-c", PARENT], {**os.environ, "WORDS": words}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        with Meter(parent.pid, (MODULE,)) as meter:
            told = float(parent.stdout.readline())
            parent.stdin.close()
            parent.wait()
    assert parent.returncode == 0
    return told, meter.seconds


def test_the_meter_reads_all_threads_of_the_one_process_that_is_meant() -> None:
    told, read = metered(f"-m early {MODULE} --run somewhere")
    assert told > 0.2
    # What it used after it had spoken, and no part of what its parent and the other one did.
    assert read == pytest.approx(told, abs=0.1)


def test_the_meter_reads_nothing_where_nobody_is_meant() -> None:
    assert metered(f"{MODULE}.other") == (pytest.approx(0.2, abs=0.2), 0.0)


def test_a_turn_is_the_same_after_it_was_written() -> None:
    for turn in (Turn(1.5, 0.25), Turn(1.5, 0.25, Wire(3, 4000, 0.5, 0.75), 0.125)):
        assert parsed(json.loads(json.dumps(asdict(turn)))) == turn


# Starts one that burns, and ends without having waited for it.
ORPHAN = f"""
import os, subprocess, sys
import buildturn
if sys.argv[1:]:
    buildturn._adopt_orphans()
leaves = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.DEVNULL)"
subprocess.run([sys.executable, "-c", leaves, {WORK!r}], stdout=subprocess.DEVNULL)
buildturn._wait_for_orphans()
print(os.times().children_user + os.times().children_system)
"""


@pytest.mark.parametrize("adopted", [True, False])
def test_the_time_of_orphans_is_known_to_who_adopts_them(adopted: bool) -> None:
    command = [sys.executable, "-c", ORPHAN, *(["adopt"] if adopted else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert (float(done.stdout) > 0.2) == adopted


def test_what_a_build_used_is_not_what_others_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "processor_seconds", lambda: 100.0)
    before = buildturn._used_by_others()
    command = [sys.executable, "-c", WORK]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    # The machine used nothing at all meanwhile, so what the child had is missing; the kernel counts in hundredths.
    assert buildturn._used_by_others() - before < -0.15


def test_what_carried_the_packets_is_told_for_itself_and_is_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    used, carried = iter([100.0, 100.25]), iter([5.0, 5.25])
    monkeypatch.setattr(buildturn, "_used_by_others", lambda: next(used))
    monkeypatch.setattr(Way, "processor", lambda _way: next(carried))
    clock = buildturn._Clock(Way())
    others, told = clock.read()
    assert (others, told) == (0.0, 0.25)


def test_a_build_ends_with_whoever_waits_for_it() -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        with pytest.raises(KeyboardInterrupt), buildturn._ended(process):
            raise KeyboardInterrupt
        assert process.returncode == -signal.SIGTERM

"""Kills a run where no stage was thought of: at each step of writing the snapshot, and at moments by chance."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy.snapshot.tree import read_tree
from tests.integration.faults import processes
from tests.integration.faults.bench import Bench, Running
from tests.integration.faults.conftest import MakeBench
from tests.integration.faults.stages import locked

# What changes a file system; reading and closing leave nothing half done.
CALLS = ("fsync", "link", "linkat", "mkdir", "rename", "renameat2", "rmdir", "unlink", "unlinkat")
PATHS = ("/old", "/small")
_ROUNDS = 60
_LINE = re.compile(r"(\w+)\((.*)")


def traced(bench: Bench, *inject: str) -> Running:
    """Start a recording whose own system calls are written down, and where one may be tampered with."""
    options = ["-o", str(bench.folder / "calls"), "-e", f"trace={','.join(CALLS)}", *inject]
    return bench.start("record", *bench.fetch(*PATHS), trace=["strace", "-qq", "-y", *options])


def need_strace() -> None:
    if (
        shutil.which("strace") is None
        or subprocess.run(["strace", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("strace is not installed, or may not trace here")


def steps(bench: Bench) -> list[tuple[str, int]]:
    """Record once, and give each call that wrote the snapshot as its name and how many of that name came so far."""
    assert traced(bench).end().code == 0
    seen: Counter[str] = Counter()
    found = []
    for line in (bench.folder / "calls").read_text().splitlines():
        if call := _LINE.match(line):
            seen[call[1]] += 1
            if f"{bench.hermit.project}/.hermit" in call[2] or ".new~" in call[2]:
                found.append((call[1], seen[call[1]]))
    assert {"fsync", "renameat2", "mkdir"} <= {name for name, _ in found}
    return found


def check_old_or_new(bench: Bench) -> None:
    """Fail where the snapshot is neither what it was nor what it was to be."""
    urls = {entry.url for entry in read_tree(bench.hermit.snapshot)}
    old, new = ({bench.web.url(path) for path in paths} for paths in (("/old", "/large"), PATHS))
    assert urls in (old, new)


def killed_at(make_bench: MakeBench, name: str, number: int) -> None:
    bench = make_bench()
    done = traced(bench, "-e", f"inject={name}:signal=KILL:when={number}").end()
    assert done.code == 137, (name, number, done.said)
    check_old_or_new(bench)
    bench.check_next("record", *PATHS)


def failed_at(make_bench: MakeBench, name: str, number: int) -> None:
    bench = make_bench()
    done = traced(bench, "-e", f"inject={name}:error=EIO:when={number}").end()
    assert "Traceback" not in done.said, (name, number, done.said)
    if done.code == 0:
        # Hard links are a convenience, and a folder that is there already need not be made.
        assert name in {"link", "linkat", "mkdir"}, (name, number, done.said)
        assert {entry.url for entry in read_tree(bench.hermit.snapshot)} == {bench.web.url(path) for path in PATHS}
    else:
        assert (done.code, "Input/output error" in done.said) == (4, True), (name, number, done.said)
        check_old_or_new(bench)
    bench.check_next("record", *PATHS)


def test_a_run_that_is_killed_while_it_exchanges_the_snapshot(make_bench: MakeBench) -> None:
    need_strace()
    (exchange,) = (step for step in steps(make_bench()) if step[0] == "renameat2")
    killed_at(make_bench, *exchange)


@pytest.mark.long
def test_a_run_that_is_killed_at_each_step_of_writing_the_snapshot(make_bench: MakeBench) -> None:
    need_strace()
    for name, number in steps(make_bench()):
        killed_at(make_bench, name, number)


@pytest.mark.long
def test_a_disk_that_fails_at_each_step_of_writing_the_snapshot(make_bench: MakeBench) -> None:
    need_strace()
    for name, number in steps(make_bench()):
        failed_at(make_bench, name, number)


@pytest.mark.long
def test_a_store_that_stays_locked_ends_the_run_with_a_clear_error(bench: Bench) -> None:
    with locked(bench.hermit.store / "lock"):
        done = bench.start("record", *bench.fetch(*PATHS)).end()
    assert done.code == 4, done.said
    assert "the proxy did not end its work in 15 s" in done.said
    assert "Traceback" not in done.said
    bench.check_tree_untouched()
    bench.check_next("record", *PATHS)


def moments(luck: int) -> Iterator[tuple[float, str, str, signal.Signals]]:
    chance = random.Random(luck)  # noqa: S311  the same moments every time, as far as the machine allows
    for _ in range(_ROUNDS):
        mode = chance.choice(["record", "record", "hermetic"])
        victim = chance.choice(["hermit", "hermit", "proxy", "bubblewrap"])
        number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        yield chance.uniform(0, 1.5), mode, victim, number


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("luck", [1, 2])
def test_runs_that_are_hit_at_any_moment(bench: Bench, luck: int) -> None:
    paths = {"record": (*PATHS, "/large"), "hermetic": ("/old",)}
    for moment, mode, victim, number in moments(luck):
        running = bench.start(mode, *bench.fetch(*paths[mode]))
        time.sleep(moment)
        pid = running.victim(victim) if running.popen.poll() is None else None
        if pid is not None and processes.argv(pid):
            os.kill(pid, number)
        done = running.end()
        what = (moment, mode, victim, number.name, done.said)
        assert done.code in {0, 1, 4, 137, 128 + number}, what
        # A signal in the first moments meets an interpreter that is not yet Hermit's.
        assert "Traceback" not in done.said or "KeyboardInterrupt" in done.said, what
        urls = {entry.url for entry in read_tree(bench.hermit.snapshot)}
        assert urls in (
            {bench.web.url(path) for path in paths["record"]},
            {bench.web.url(p) for p in ("/old", "/large")},
        )
        bench.check_store()
    bench.check_next("record", *paths["record"])
    bench.check_store()


def test_a_run_that_nothing_hits_leaves_its_log_where_the_checks_look(bench: Bench) -> None:
    bench.run("hermetic", *bench.fetch("/old"))
    (names,) = bench.runs().values()
    assert "requests.jsonl" in names
    assert Path(bench.folder, "tmp").is_dir()

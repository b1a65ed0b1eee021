"""Kills every part of a cell at every stage with SIGKILL, and looks for what is left: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermit_workers.sandbox.limits import cgroups
from tests.support.sandbox import image

_STAGES = ("opened", "started", "running", "stopped")
# Run in a process of its own: it is killed, or somebody that it started is.
_HERMIT = """
import asyncio, os, sys
from pathlib import Path
from hermit_workers.cell import Limits
from hermit_workers.sandbox import cell as module
from tests.support.sandbox import sh

folder, tree, stage = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

async def at(now):
    if now == stage:
        print("here", flush=True)
        await asyncio.sleep(3600)

class Holder(module.Holder):
    @classmethod
    async def open(cls, **options):
        self = await super().open(**options)
        await at("opened")
        return self

async def main():
    module.Holder = Holder
    cell = module.SandboxCell(tree, folder, Limits())
    try:
        await cell.start()
        await sh(cell, "echo x > /build/x; chmod 0 /build; sleep 1000 >/dev/null 2>&1 &", "root")
        await at("started")
        if stage == "running":
            print("here", flush=True)
            print(await sh(cell, "sleep 1001", "root"), flush=True)
        await cell.stop()
        await at("stopped")
    except Exception as error:
        print(type(error).__name__, flush=True)
    finally:
        await cell.destroy()
        print("destroyed", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    root = Path(__file__).parents[4]
    processes: list[subprocess.Popen[str]] = []

    def begin(stage: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _HERMIT, str(tmp_path / "cell"), str(image()), stage]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root))
        assert processes[0].stdout is not None
        assert processes[0].stdout.readline() == "here\n"
        return processes[0]

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    cgroups.sweep()  # the only thing that waits for the next start


def below(process: int) -> list[int]:
    """Give all descendants, the process itself first."""
    found = [process]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(word) for word in path.read_text().split()]
            except OSError:
                continue
    return found


def steps_of(hermit: int) -> list[int]:
    """Give the step's bubblewraps and, last, its command."""
    return [one for one in below(hermit)[1:] if b"sleep 1001" in Path(f"/proc/{one}/cmdline").read_bytes()]


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


def gone(processes: list[int]) -> bool:
    return not any(Path(f"/proc/{process}").exists() for process in processes)


@pytest.mark.parametrize("stage", _STAGES)
def test_killing_hermit_leaves_no_process_and_no_folder(
    tmp_path: Path, stage: str, begun: Callable[[str], subprocess.Popen[str]]
) -> None:
    hermit = begun(stage)
    others = below(hermit.pid)[1:]
    assert len(others) >= 2
    hermit.kill()
    hermit.wait()
    assert eventually(lambda: gone(others))
    assert eventually(lambda: os.listdir(tmp_path) == [])


@pytest.mark.parametrize("stage", ["started", "running"])
def test_killing_any_process_around_the_cell_ends_it_and_hermit_cleans_up(
    tmp_path: Path, stage: str, begun: Callable[[str], subprocess.Popen[str]]
) -> None:
    hermit = begun(stage)
    others = below(hermit.pid)[1:]
    os.kill(others[0], signal.SIGKILL)  # the keeper
    assert eventually(lambda: gone(others[1:]))
    if stage == "started":  # it waits for nothing else
        hermit.send_signal(signal.SIGINT)
    assert hermit.stdout is not None
    assert "destroyed" in hermit.stdout.read()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("stage", ["started", "running"])
def test_killing_the_holder_ends_the_cell_and_hermit_cleans_up(
    tmp_path: Path, stage: str, begun: Callable[[str], subprocess.Popen[str]]
) -> None:
    hermit = begun(stage)
    others = below(hermit.pid)[1:]
    os.kill(others[1], signal.SIGKILL)  # the holder
    assert eventually(lambda: gone(others))
    if stage == "started":  # it waits for nothing else
        hermit.send_signal(signal.SIGINT)
    assert hermit.stdout is not None
    assert "destroyed" in hermit.stdout.read()
    assert os.listdir(tmp_path) == []


def test_killing_bubblewrap_of_a_step_ends_the_step(
    tmp_path: Path, begun: Callable[[str], subprocess.Popen[str]]
) -> None:
    hermit = begun("running")
    assert eventually(lambda: len(steps_of(hermit.pid)) > 1)
    found = below(hermit.pid)
    os.kill(steps_of(hermit.pid)[0], signal.SIGKILL)
    assert hermit.stdout is not None
    assert "destroyed" in hermit.stdout.read()
    assert eventually(lambda: gone(found[1:]))
    assert os.listdir(tmp_path) == []

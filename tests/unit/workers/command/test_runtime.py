"""Starts, signals and kills real cells, and looks for what is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hermit_proxy.run.ca import RunCA
from hermit_workers.cell import CellError
from hermit_workers.command.runtime import Cell, _readable
from hermit_workers.command.view import Hidden, Trust, prepare
from hermit_workers.environment import Wire
from tests.support.cells import environ, run_in_cell


@pytest.fixture
def rundir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def start(rundir: Path, *command: str) -> Cell:
    rundir.mkdir()
    pem = RunCA.create().cert_pem
    sandbox, environment = prepare(rundir, Path.cwd(), environ({}), Wire(), Trust(pem, pem, b""), Hidden((rundir,)))
    return Cell.start(sandbox, command, environment)


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(400):
        if condition():
            return True
        time.sleep(0.02)
    return False


def processes_with(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "cmdline").read_text() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 128 + 15), ("kill -KILL $$", 128 + 9), ("exec no-such", 127)],
)
def test_the_status_is_the_commands_own(rundir: Path, script: str, status: int) -> None:
    assert run_in_cell("sh", "-c", script, rundir=rundir).status == status


def test_children_in_the_background_die_with_the_command(rundir: Path) -> None:
    mark = f"hermit-mark-{os.getpid()}"
    script = (
        f"(trap '' TERM HUP INT; exec -a {mark} sleep 300) & setsid -f bash -c 'exec -a {mark} sleep 300'; sleep 0.2"
    )
    assert run_in_cell("bash", "-c", script, rundir=rundir).status == 0
    # When the cell is over they are gone already, not soon.
    assert processes_with(mark) == []


def test_a_signal_reaches_the_command_and_it_may_end_in_its_own_way(rundir: Path) -> None:
    async def run() -> int:
        cell = start(rundir, "sh", "-c", "trap 'exit 42' TERM; touch ready; while :; do sleep 0.05; done")
        try:
            (await cell.listener()).close()
            cell.go()
            await asyncio.to_thread(eventually, Path("ready").exists)
            cell.signal(signal.SIGTERM)
            return await cell.wait()
        finally:
            await cell.destroy()

    assert asyncio.run(run()) == 42


@pytest.mark.parametrize("stage", ["started", "handed out", "running", "over"])
def test_destroying_leaves_nothing_from_every_stage_and_twice_is_safe(rundir: Path, stage: str) -> None:
    mark = f"31{os.getpid()}"

    async def run() -> None:
        cell = start(rundir, "sleep", "0" if stage == "over" else mark)
        if stage != "started":
            (await cell.listener()).close()
        if stage in {"running", "over"}:
            cell.go()
        if stage == "running":
            await asyncio.to_thread(eventually, lambda: bool(processes_with(f"sleep\0{mark}")))
        if stage == "over":
            await cell.wait()
        await cell.destroy()
        await cell.destroy()

    asyncio.run(run())
    assert eventually(lambda: not processes_with(mark))


def test_a_killed_supervisor_takes_the_cell_with_it(rundir: Path) -> None:
    mark = f"32{os.getpid()}"
    code = f"""
import asyncio
from pathlib import Path
from tests.unit.workers.command.test_runtime import start
async def main():
    cell = start(Path({str(rundir)!r}), "sleep", {mark!r})
    (await cell.listener()).close()
    cell.go()
    await cell.wait()
asyncio.run(main())
"""
    root = Path(__file__).resolve().parents[4]
    supervisor = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(root)})
    try:
        assert eventually(lambda: bool(processes_with(f"sleep\0{mark}")))
    finally:
        supervisor.kill()
        supervisor.wait()
    assert eventually(lambda: not processes_with(mark))


def test_a_machine_that_makes_no_sandbox_is_told_of(
    rundir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    with pytest.raises(CellError, match="made no sandbox"):
        run_in_cell("true", rundir=rundir)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CellError, match="not installed"):
        run_in_cell("true", rundir=rundir.with_name("second"))


def test_of_two_who_wait_for_one_thing_one_may_leave() -> None:
    async def wait_twice() -> None:
        reader, writer = os.pipe()
        first, second = (asyncio.ensure_future(_readable(reader)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        os.write(writer, b"!")
        await asyncio.wait_for(second, 20)
        os.close(reader)
        os.close(writer)

    asyncio.run(wait_twice())

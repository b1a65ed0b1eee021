"""Takes pools through their lives; processes stand for their machines, and agents are the guest's own."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cell import CellError, Command, Limits
from hermit_workers.vm.agent import Agent
from hermit_workers.vm.boot import Bootable
from hermit_workers.vm.cell import Places, Shape
from hermit_workers.vm.pool import Pool
from tests.unit.workers.vm.guests import open_descriptors
from tests.unit.workers.vm.standing import Machines, standing

__all__ = ["standing"]

LIMITS = Limits(memory=1 << 30, disk=64 << 20)
PATIENCE = 40


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the clocks that agents are given; only a machine's own root could set one."""
    given: list[int] = []

    async def lease(_agent: Agent, clock: int, _seconds: float) -> None:
        given.append(clock)

    monkeypatch.setattr(Agent, "lease", lease)
    return given


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  what it waits for is in other tasks and processes
            await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(tmp_path: Path, size: int, said: list[str] | None = None) -> AsyncIterator[Pool]:
    (tmp_path / "pool").mkdir()
    places = Places(tmp_path / "pool", tmp_path / "cache", tmp_path)
    told = said if said is not None else []
    pool = Pool(Bootable(tmp_path), LIMITS, Shape("qemu", 1, 0), places, size=size, say=told.append)
    pool.open()
    try:
        yield pool
    finally:
        await pool.close()
        await pool.close()
        assert os.listdir(tmp_path / "pool") == []


def test_a_machine_is_leased_once_and_replaced(tmp_path: Path, standing: Machines, clocks: list[int]) -> None:
    async def scenario() -> None:
        before = open_descriptors()
        async with opened(tmp_path, 2) as pool:
            await until(lambda: pool.ready == 2)
            assert len(standing.started) == 2
            cell = await pool.lease(replace(LIMITS, seconds=77), 1_600_000_000)
            assert cell is not None
            with await cell.start(), tempfile.TemporaryFile() as output:
                command = Command(("/bin/echo", "on"), {}, PurePosixPath("/"))
                assert (await cell.run(command, output=output.fileno())).status == 0
                await until(lambda: pool.ready == 2)
                assert len(standing.started) == 3
            await cell.destroy()
            assert clocks == [1_600_000_000]
            assert pool.ready == 2
        await asyncio.sleep(0)
        assert open_descriptors() <= before + 1  # the loop's own for its children

    asyncio.run(scenario())


def test_a_build_of_another_size_gets_none(tmp_path: Path, standing: Machines, clocks: list[int]) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, 1) as pool:
            await until(lambda: pool.ready == 1)
            for other in ({"memory": 2 << 30}, {"disk": 1 << 30}, {"processes": 5}):
                assert await pool.lease(replace(LIMITS, **other), 1) is None
            assert pool.ready == 1
        assert clocks == []
        assert standing.started

    asyncio.run(scenario())


def test_a_machine_that_ends_while_it_waits_is_replaced_three_times_at_most(
    tmp_path: Path, standing: Machines, clocks: list[int]
) -> None:
    said: list[str] = []

    async def scenario() -> None:
        async with opened(tmp_path, 1, said) as pool:
            for number in range(1, 4):
                await until(lambda number=number: pool.ready == 1 and len(standing.started) == number)  # type: ignore[misc]  # mypy knows no lambda with a default
                standing.started[-1].break_down()
                await until(lambda number=number: len(said) >= number)  # type: ignore[misc]  # as above
            await until(lambda: len(said) == 4)
            assert await pool.lease(LIMITS, 1) is None
        assert said[0] == "pool: a VM was lost: one has ended while it waited"
        assert said[3] == "pool: 3 VMs in a row have failed: no more are booted ahead"
        assert len(standing.started) == 3
        assert clocks == []

    asyncio.run(scenario())


def test_a_machine_that_cannot_begin_its_build_is_not_given(
    tmp_path: Path, standing: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    leased: list[int] = []

    async def lease(_agent: Agent, clock: int, _seconds: float) -> None:
        leased.append(clock)
        if len(leased) == 1:
            raise CellError("the VM cannot begin the build: 'why'")

    monkeypatch.setattr(Agent, "lease", lease)
    said: list[str] = []

    async def scenario() -> None:
        async with opened(tmp_path, 2, said) as pool:
            await until(lambda: pool.ready == 2)
            cell = await pool.lease(LIMITS, 7)
            assert cell is not None
            await cell.destroy()
            await until(lambda: pool.ready == 2)
        assert leased == [7, 7]
        assert said == ["pool: a VM was lost: the VM cannot begin the build: 'why'"]
        assert len(standing.started) == 4

    asyncio.run(scenario())


def test_a_pool_whose_machines_do_not_start_says_why_and_gives_none(
    tmp_path: Path, standing: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hermit_workers.vm.cell._BOOT_SECONDS", 0.1)
    standing.deaf = True
    said: list[str] = []

    async def scenario() -> None:
        async with opened(tmp_path, 1, said) as pool:
            await until(lambda: len(said) == 4)
            assert await pool.lease(LIMITS, 1) is None
        assert "is not up in 0 s" in said[0]
        assert len(standing.started) == 3

    asyncio.run(scenario())


def test_closing_in_the_middle_of_a_start_leaves_nothing(tmp_path: Path, standing: Machines) -> None:
    standing.deaf = True  # the start goes on for ever

    async def scenario() -> None:
        async with opened(tmp_path, 1) as pool:
            await until(lambda: bool(standing.started))
            assert pool.ready == 0
        over = standing.started[0].over
        assert over is not None
        assert over.done()

    asyncio.run(scenario())

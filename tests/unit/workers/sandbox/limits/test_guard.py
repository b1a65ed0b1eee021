"""Wires the limits' parts together: with control groups, and where there are none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import guard as module
from tests.support.sandbox import Done, image, sh, started


def without_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Cgroup, "make", lambda _: None)


class Refusing:
    """Is a control group that can be made but takes nobody, as some systems' are: it holds nothing then."""

    holds: frozenset[str] = frozenset({"memory", "processes"})

    def add(self, _: int) -> None:
        self.holds = frozenset()

    def exceeded(self) -> None:
        return None

    def remove(self) -> None:
        pass


def test_where_a_group_takes_nobody_the_watchdog_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Cgroup, "make", lambda _: Refusing())

    async def run() -> Done:
        async with started(tmp_path / "cell", Limits(memory=64 << 20)) as cell:
            return await sh(cell, "perl -e '$a = q(x) x (1 << 28); sleep 1000'")

    image()
    assert (asyncio.run(run()).exceeded or "").startswith("memory: ")


def test_what_is_open_is_closed_where_the_watchdog_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with started(tmp_path / "cell") as cell:
            guard = cell._guard
            assert guard is not None
            assert guard._watch is not None
            stop = guard._watch.stop

            async def failing() -> None:
                await stop()
                raise RuntimeError("the first")

            monkeypatch.setattr(guard._watch, "stop", failing)
            with pytest.raises(RuntimeError, match="the first"):
                await guard.stop()
            assert guard._open == []
            assert guard._counter is not None
            assert guard._counter._descriptor is None

    image()
    asyncio.run(run())


@pytest.mark.parametrize(
    ("limits", "script", "said"),
    [
        (Limits(memory=64 << 20), "perl -e '$a = q(x) x (1 << 28); sleep 1000'", "memory: "),
        (Limits(processes=30), "perl -e 'for (1 .. 40) { fork or sleep 1000 } sleep 1000'", "processes: "),
        (Limits(memory=64 << 20), "head -c 100000000 /dev/zero > /dev/shm/x; sleep 1000", None),
    ],
)
def test_limits_hold_without_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits, script: str, said: str | None
) -> None:
    without_groups(monkeypatch)

    async def run() -> Done:
        async with started(tmp_path / "cell", limits) as cell:
            if said is None:  # shared memory is a quarter of all at most, so this fills up before it is too much
                return await sh(cell, script.replace("sleep 1000", "wc -c < /dev/shm/x"))
            return await sh(cell, script)

    image()
    done = asyncio.run(run())
    if said is None:
        assert done.exceeded is None
        assert int(done.output.splitlines()[-1]) == limits.memory // 4
    else:
        assert (done.exceeded or "").startswith(said)


def test_a_build_that_killed_its_init_is_watched_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_groups(monkeypatch)

    async def run() -> Done:
        async with started(tmp_path / "cell", Limits(memory=64 << 20)) as cell:
            await sh(cell, "kill -9 -1", "root")
            return await sh(cell, "perl -e '$a = q(x) x (1 << 28); sleep 1000'")

    image()
    assert (asyncio.run(run()).exceeded or "").startswith("memory: ")

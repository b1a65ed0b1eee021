"""Wires the limits' parts together: with control groups, and where there are none."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hermit_workers.cell import Limits
from hermit_workers.sandbox.limits import guard as module
from hermit_workers.sandbox.limits.guard import Guard
from tests.support.sandbox import Done, image, sh, started


class Refusing:
    """Is a control group that can be made but takes nobody, as some systems' are."""

    removed = 0

    def add(self, _: int) -> None:
        raise PermissionError

    def remove(self) -> None:
        Refusing.removed += 1


def without_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Cgroup, "make", lambda _: None)


def test_a_group_that_takes_nobody_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Cgroup, "make", lambda _: Refusing())
    guard = Guard(Limits(), lambda _: None)
    guard.admit(os.getpid())
    guard.admit(os.getpid())
    guard.remove()
    assert Refusing.removed == 1


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

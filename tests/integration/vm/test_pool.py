"""Leases real machines out of a pool, and compares what a build could tell one from another by."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cell import Command, Limits
from hermit_workers.vm.boot import make_bootable
from hermit_workers.vm.cell import Places, Shape, VmCell
from hermit_workers.vm.pool import Pool
from tests.integration.vm.test_cell import left
from tests.support import bootimage

pytestmark = [pytest.mark.registry]

CLOCK = 1_600_000_000
APART = 86_400  # between the times of two recordings
LIMITS = Limits(memory=512 << 20, disk=256 << 20)
PATIENCE = 280
LASTS = 250  # seconds at most, from a lease to a look at the clock
ASKS = """
echo chance $(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')
echo boot $(cat /proc/sys/kernel/random/boot_id)
echo uuid $(cat /proc/sys/kernel/random/uuid)
echo machine $(cat /etc/machine-id 2>&1)
echo clock $(date +%s)
echo rtc $(cat /sys/class/rtc/rtc0/since_epoch)
echo root $(stat -c %Y /) $(stat -c %Y /run)
echo host $(hostname)
echo names $(ls -A / /run)
"""


async def ask(cell: VmCell) -> Mapping[str, str]:
    with await cell.start(), tempfile.TemporaryFile() as output:
        command = Command(("/bin/sh", "-c", ASKS), {"PATH": "/usr/bin:/bin"}, PurePosixPath("/"), "root")
        ended = await cell.run(command, output=output.fileno())
        output.seek(0)
        said = output.read().decode()
    assert ended.status == 0, said
    return dict(line.partition(" ")[::2] for line in said.splitlines())


async def waiting(pool: Pool, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while pool.ready < count:  # noqa: ASYNC110  a pool tells nobody
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "builds",
    [
        pytest.param(4, marks=pytest.mark.timeout(600)),
        pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_a_machine_out_of_the_pool_is_as_fresh_as_a_cold_one(image: Path, place: Path, builds: int) -> None:
    async def scenario() -> None:
        boots = await make_bootable(image, "sha256:test", bootimage.size(image), CLOCK, image / "boot")
        shape = Shape("qemu", 1, CLOCK)
        cold = VmCell(boots, LIMITS, shape, Places(place / "cold", image / "cache", place))
        try:
            told = [await ask(cold)]
        finally:
            await cold.destroy()
        (place / "pool").mkdir(mode=0o711)
        pool = Pool(boots, LIMITS, shape, Places(place / "pool", image / "cache", place), size=1)
        pool.open()
        try:
            for number in range(1, builds):
                await waiting(pool, 1)
                clock = CLOCK - number * APART
                cell = await pool.lease(replace(LIMITS, seconds=1000), clock)
                assert cell is not None
                try:
                    told.append(await ask(cell))
                finally:
                    await cell.destroy()
        finally:
            await pool.close()
        for what in ("chance", "boot", "uuid"):
            assert len({one[what] for one in told}) == builds, told
        for what in ("machine", "host", "names"):
            assert len({one[what] for one in told}) == 1, told
        for number, one in enumerate(told):
            for moment in (one["clock"], one["rtc"], *one["root"].split()):
                assert 0 <= int(moment) - (CLOCK - number * APART) + 1 <= LASTS, (number, one)

    asyncio.run(scenario())
    os.rmdir(place / "pool")  # only an empty one goes
    assert left(place) == []

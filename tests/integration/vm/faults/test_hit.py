"""Kills every part of a VM at every stage of its life: docs/faults.md is the table of what is said then."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

import pytest

from hermit_proxy.errors import HermitError
from hermit_workers.cell import CellError, Ended
from tests.integration.faults.cases import Case, Stage
from tests.integration.vm.faults import cases
from tests.integration.vm.faults.vmbench import VmBench

pytestmark = [pytest.mark.registry, pytest.mark.timeout(280)]

# Several, because a step's file may be no larger than its disk.
_HOLES = "mkdir q(/build/dist); for (1 .. 12) { open F, q(>/build/dist/holes) . $_ or die; truncate F, 250 << 20 }"
Hit = Callable[[], object]


async def booting(bench: VmBench, hit: Hit) -> None:
    starting = asyncio.create_task(bench.start())
    await bench.until("the kernel's first word", lambda: "hermit: " in bench.console() or starting.done())
    hit()
    (await starting).close()


async def attached(bench: VmBench, hit: Hit) -> None:
    with await bench.start():
        hit()
        await bench.sh("sleep 1000")


async def running(bench: VmBench, hit: Hit) -> None:
    with await bench.start():
        await bench.sh("echo here; sleep 1000", hit)


async def taking(bench: VmBench, hit: Hit) -> None:
    with await bench.start():
        assert (await bench.sh(f"perl -e '{_HOLES}'"))[0] == Ended(0)
        await bench.cell.stop()
        take = asyncio.create_task(bench.cell.take(PurePosixPath("/build/dist"), ["holes*"]))
        await bench.until("a part of the file", lambda: take.done() or _nameless(bench.place))
        hit()
        for taken in await take:
            os.close(taken.descriptor)


async def destroying(bench: VmBench, hit: Hit) -> None:
    with await bench.start():
        destroy = asyncio.create_task(bench.cell.destroy())
        await asyncio.sleep(0)
        hit()
        await destroy


HOLDS: dict[Stage, Callable[[VmBench, Hit], Awaitable[None]]] = {
    cases.BOOTING: booting,
    cases.ATTACHED: attached,
    cases.RUNNING: running,
    cases.TAKING: taking,
    cases.DESTROYING: destroying,
}


def _nameless(place: Path) -> bool:
    """Tell whether this process has an unfinished file below a folder open."""
    for name in os.listdir("/proc/self/fd"):
        try:
            target, status = os.readlink(f"/proc/self/fd/{name}"), os.fstat(int(name))
        except OSError:
            continue
        if target.startswith(str(place)) and target.endswith("(deleted)") and status.st_size > 1 << 20:
            return True
    return False


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id, marks=[pytest.mark.long] if cases.is_long(case) else []) for case in cases.CASES],
)
def test_a_vm_that_is_hit(bench: VmBench, case: Case) -> None:
    async def scenario() -> None:
        failed: HermitError | None = None
        try:
            await HOLDS[case.stage](bench, lambda: bench.hit(case.victim, case.signal))
        except CellError as error:
            failed = error
        finally:
            await bench.cell.destroy()
        assert (0 if failed is None else failed.exit_code) == case.code, failed
        assert case.says in str(failed or "")
        if case.code:
            assert "hermit: " in str(failed), "the console is quoted"

    asyncio.run(scenario())
    bench.check_nothing_left()
    if case.victim == "QEMU":  # what is left is the same whoever is hit, and a boot is dear
        asyncio.run(bench.check_next())


@pytest.mark.long
@pytest.mark.parametrize("what", cases.INSIDE)
def test_a_guests_root_that_ends_its_machine(bench: VmBench, what: str) -> None:
    script, says = cases.INSIDE[what]

    async def scenario() -> None:
        try:
            with await bench.start():
                if says == "still here":
                    assert (await bench.sh(script))[1].endswith("still here\n")
                    assert await bench.sh("echo fine") == (Ended(0), "fine\n")
                else:
                    with pytest.raises(CellError, match=f"(?s)ended in the middle of a build.*{says}"):
                        await bench.sh(script)
        finally:
            await bench.cell.destroy()

    asyncio.run(scenario())
    bench.check_nothing_left()

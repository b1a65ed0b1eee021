"""Promises memory to VMs: who fits, who waits for whom, who is refused, and what is left of those that were killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermit_workers.cell import CellError
from hermit_workers.vm import room as subject
from hermit_workers.vm.room import BESIDE, Note, fitting, judge, promised, room

GIB = 1 << 30
PLENTY = 100 * GIB
_HOLDS = """
import asyncio, sys
from pathlib import Path
from hermit_workers.vm import room
room.available = lambda: 100 << 30
async def main():
    async with room.room(Path(sys.argv[1]), 5 << 30, most=6 << 30):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "available", lambda: PLENTY)


class Said:
    """Is what somebody was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._event = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._event.set()

    async def something(self) -> None:
        await asyncio.wait_for(self._event.wait(), 60)


def notes(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("room-*")]


@pytest.mark.parametrize(
    ("memory", "most", "others", "left", "waits"),
    [
        (GIB, None, [], GIB + BESIDE, False),
        (GIB, None, [GIB], GIB + BESIDE, False),
        (GIB, None, [GIB], GIB + BESIDE - 1, True),
        (GIB, 2 * GIB, [GIB], PLENTY, False),
        (GIB, 2 * GIB, [GIB, 1], PLENTY, True),
    ],
)
def test_a_vm_waits_for_others_where_what_is_left_or_allowed_is_too_little(
    memory: int, most: int | None, others: list[int], left: int, *, waits: bool
) -> None:
    why = judge(memory, most, [Note(1, one) for one in others], left)
    assert (why is not None) is waits
    assert why is None or why.startswith("waiting for memory: this VM needs 1.8 GiB, and ")


def test_where_no_other_vm_would_make_room_nobody_waits() -> None:
    with pytest.raises(CellError, match=r"a VM with 1 GiB, .* does not fit: this machine has 512 MiB left") as caught:
        judge(GIB, None, [], GIB // 2)
    assert "limits.memory" in str(caught.value.hint)


def test_more_than_all_vms_may_have_is_refused_at_once(tmp_path: Path) -> None:
    async def ask() -> None:
        async with room(tmp_path, 3 * GIB, most=2 * GIB):
            pass

    with pytest.raises(CellError, match="3 GiB is more than the 2 GiB") as caught:
        asyncio.run(ask())
    assert "vm.memory" in str(caught.value.hint)


def test_a_second_vm_waits_until_the_first_has_gone_and_says_so_once(tmp_path: Path) -> None:
    said = Said()
    order: list[str] = []

    async def second() -> None:
        async with room(tmp_path, GIB, most=GIB, say=said):
            order.append("second")

    async def main() -> None:
        async with room(tmp_path, GIB, most=GIB):
            waiting = asyncio.create_task(second())
            await said.something()
            order.append("first")
        await waiting

    asyncio.run(main())
    assert order == ["first", "second"]
    assert len(said.lines) == 1
    assert notes(tmp_path) == []


def test_what_one_vm_was_promised_is_not_given_to_another_and_who_waits_says_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said()

    async def second() -> None:
        async with room(tmp_path, GIB, say=said):
            pass

    async def main() -> None:
        looked = 0
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()

        def left() -> int:
            nonlocal looked
            looked += 1
            if looked > 5:
                loop.call_soon_threadsafe(enough.set)
            return GIB + BESIDE

        monkeypatch.setattr(subject, "available", left)
        monkeypatch.setattr(subject, "_INTERVAL", 0.01)
        async with room(tmp_path, GIB):
            waiting = asyncio.create_task(second())
            await asyncio.wait_for(enough.wait(), 60)
            assert not waiting.done()
        await waiting

    asyncio.run(main())
    assert len(said.lines) == 1


def test_a_small_vm_does_not_pass_a_large_one_that_waits(tmp_path: Path) -> None:
    order: list[int] = []

    async def one(memory: int, said: Said) -> None:
        async with room(tmp_path, memory, most=4 * GIB, say=said):
            order.append(memory)

    async def main() -> None:
        first = Said()
        second = Said()
        async with room(tmp_path, 2 * GIB, most=4 * GIB):
            large = asyncio.create_task(one(4 * GIB, first))
            await first.something()
            small = asyncio.create_task(one(GIB, second))
            await second.something()
            assert "behind another VM" in second.lines[0]
        await asyncio.gather(large, small)

    asyncio.run(main())
    assert order == [4 * GIB, GIB]


def test_who_is_interrupted_while_waiting_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        said = Said()

        async def second() -> None:
            async with room(tmp_path, GIB, most=GIB, say=said):
                raise AssertionError("there was no room")

        async with room(tmp_path, GIB, most=GIB):
            waiting = asyncio.create_task(second())
            await said.something()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert waiting.cancelled()
            assert len(notes(tmp_path)) == 1
        async with room(tmp_path, GIB, most=GIB):
            assert len(notes(tmp_path)) == 1

    asyncio.run(main())


def test_the_room_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        said = Said()

        async def main() -> None:
            async def second() -> None:
                async with room(tmp_path, 5 * GIB, most=6 * GIB, say=said):
                    assert len(notes(tmp_path)) == 1

            waiting = asyncio.create_task(second())
            await said.something()
            other.kill()
            await waiting

        asyncio.run(main())
    assert "1 VM that runs" in said.lines[0]
    assert notes(tmp_path) == []


def test_what_machines_use_already_is_not_kept_for_them_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert promised([]) == 0
    mine = [Note(os.getpid(), GIB), Note(os.getpid(), GIB)]
    assert promised(mine) == 2 * (GIB + BESIDE)
    # A process whose name is QEMU's, and no other, counts as a machine's.
    program = tmp_path / "qemu-system-x86_64"
    program.symlink_to(sys.executable)
    script = "print('up', flush=True); input()"
    for name, counts in ((program, True), (Path(sys.executable), False)):
        with subprocess.Popen(
            [name, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "up\n"
            assert (promised(mine) < 2 * (GIB + BESIDE)) is counts
            running.communicate("\n")
    monkeypatch.setattr(subject, "_used", lambda _process: PLENTY)
    assert promised(mine) == 0


@pytest.mark.parametrize(
    ("most", "left", "count"),
    [(None, 3 * (GIB + BESIDE), 3), (None, GIB, 0), (2 * GIB, PLENTY, 2), (GIB // 2, PLENTY, 0), (None, -1, 0)],
)
def test_how_many_fit_at_once_is_counted(most: int | None, left: int, count: int) -> None:
    assert fitting(GIB, most, left) == count


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def ask() -> None:
        async with room(tmp_path / "file", GIB):
            pass

    with pytest.raises(CellError, match=r"cannot write to .*/file"):
        asyncio.run(ask())

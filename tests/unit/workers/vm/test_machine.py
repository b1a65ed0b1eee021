"""Reads a console that a guest wrote; the rest of a machine needs a guest (tests/integration/vm)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hermit_workers.locks import alone
from hermit_workers.vm import machine as module
from hermit_workers.vm.domain import Disk
from hermit_workers.vm.layout import take
from hermit_workers.vm.machine import Machine, _thd_largest, thd_sweep


def machine(console: Path) -> Machine:
    daemon: Any = None  # nothing is asked of it here
    return Machine(daemon, None, console)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", ""),
        (b"hermit: 1.0 failed: no disk\r\n", "hermit: 1.0 failed: no disk"),
        (b"\x1b[2J\x1b[31mred\x1b[0m \x07bell\nnext\x00", "red bell\nnext"),
        (b"\xff\xfe caf\xc3\xa9", "caf"),
        (b"x" * 100_000 + b"end", "x" * 1497 + "end"),
        (b"a\n[1] Kernel panic - no init\n" + b"x" * 2000, "[1] Kernel panic - no init\n(...)\n" + "x" * 1500),
        (b"a\n[1] Kernel panic - no init\nRIP", "a\n[1] Kernel panic - no init\nRIP"),
        (b"y" * 5000 + b"Kernel panic" + b"x" * 2000, f"{'y' * 100}Kernel panic{'x' * 200}\n(...)\n{'x' * 1500}"),
    ],
)
def test_last_words_are_the_end_in_letters_that_no_terminal_obeys(tmp_path: Path, said: bytes, told: str) -> None:
    (tmp_path / "console").write_bytes(said)
    assert machine(tmp_path / "console").last_words() == told


def test_a_machine_without_a_console_has_said_nothing(tmp_path: Path) -> None:
    assert machine(tmp_path / "console").last_words() == ""


@pytest.mark.parametrize("times", [1, 2])
def test_a_link_whose_making_is_given_up_is_closed(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    closed = []

    class Slow:
        @classmethod
        async def open(cls, *_: object) -> Slow:
            return await asyncio.to_thread(cls._thd_open)

        @classmethod
        def _thd_open(cls) -> Slow:
            time.sleep(0.3)
            return cls()

        async def close(self) -> None:
            closed.append(self)

    async def scenario() -> None:
        opening = asyncio.create_task(module._opened())
        for _ in range(times):  # a person may press twice
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    monkeypatch.setattr(module, "Link", Slow)
    asyncio.run(scenario())
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("exceeded", "how", "console", "told"),
    [
        (None, "QEMU was killed", b"panic", ": QEMU was killed; its console says at the end:\npanic"),
        ("disk: full", "QEMU was killed", b"", ": disk: full; its console is silent"),
        (None, "", b"panic", "; its console says at the end:\npanic"),
    ],
)
def test_the_end_of_a_machine_is_told_with_its_cause_and_its_console(
    tmp_path: Path, exceeded: str | None, how: str, console: bytes, told: str
) -> None:
    (tmp_path / "console").write_bytes(console)
    ended = machine(tmp_path / "console")
    ended.exceeded, ended._how = exceeded, how
    assert ended.told() == told


def test_the_largest_file_that_a_machine_writes_is_its_largest_disk_wherever_that_is_seen(tmp_path: Path) -> None:
    for name, size in (("image", 9 << 20), ("scratch", 5 << 20), ("small", 1 << 20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    place, binds = Path("/place"), {"files": tmp_path}
    disks = [Disk(place / "files/image", "i"), Disk(place / "files/scratch", "s", writable=True)]
    disks += [Disk(tmp_path / "small", "t", writable=True), Disk(place / "files/none", "n", writable=True)]
    domain: Any = SimpleNamespace(disks=disks)
    assert _thd_largest(domain, place, binds) == 5 << 20


def test_a_sweep_takes_what_nobody_holds_however_fresh_it_is(tmp_path: Path) -> None:
    for name in ("vm-dead", "vm-held", "links"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "vm-link").symlink_to(tmp_path / "links")
    held = os.open(tmp_path / "vm-held", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert thd_sweep(tmp_path) == ["vm-dead"]
    os.close(held)
    assert thd_sweep(tmp_path) == ["vm-held"]
    assert sorted(os.listdir(tmp_path)) == ["links", "vm-link"]
    assert (tmp_path / "links/file").exists()


def test_a_sweep_never_comes_between_a_folder_and_its_lock(tmp_path: Path) -> None:
    """Whoever makes a folder holds the one around it until the new one is locked: a sweep waits for that."""
    with ThreadPoolExecutor(2) as pool:
        with alone(tmp_path):
            sweeping, taking = pool.submit(thd_sweep, tmp_path), pool.submit(take, tmp_path / "vm-taken")
            (tmp_path / "vm-fresh").mkdir()
            assert not wait([sweeping], 0.3).done
            assert not taking.done()
            held = os.open(tmp_path / "vm-fresh", os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)
        assert sweeping.result(30) == []
        taken = taking.result(30)
    os.close(held)
    assert thd_sweep(tmp_path) == ["vm-fresh"]
    os.close(taken)


def test_a_sweep_of_a_folder_that_is_not_there_finds_nothing(tmp_path: Path) -> None:
    assert thd_sweep(tmp_path / "none") == []

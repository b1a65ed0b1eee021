"""Gives every fault of a VM a bench, and the processes that it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_workers.vm import machine
from hermit_workers.vm.boot import Bootable, make_bootable
from tests.integration.faults import processes
from tests.integration.vm.faults.vmbench import CLOCK, VmBench


@pytest.fixture(autouse=True)
def adopted() -> Iterator[None]:
    with processes.adopting():
        yield


@pytest.fixture(scope="session")
def boots(image: Path) -> Bootable:
    """Make bootable what these tests boot, once."""
    size = sum(path.lstat().st_size for path in (image / "root").rglob("*"))
    return asyncio.run(make_bootable(image, "sha256:test", size, CLOCK, image / "boot"))


@pytest.fixture
def bench(image: Path, place: Path, boots: Bootable, monkeypatch: pytest.MonkeyPatch) -> Iterator[VmBench]:
    """Give a bench whose links are its own, so that they can be counted."""
    links = image / "links"
    monkeypatch.setattr(machine, "_LINKS", links)
    made = VmBench(boots, place, image / "cache", links)
    yield made
    made.check_nothing_left()

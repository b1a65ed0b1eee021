"""Gives a small image that boots (tests/support/bootimage.py)."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_workers.sandbox.namespaces.mapped import remove_tree
from hermit_workers.vm.layout import qemu_ids
from tests.support import bootimage
from tests.unit.workers.vm.conftest import other, short

__all__ = ["image", "other", "place", "short"]


@pytest.fixture(scope="session")
def image() -> Iterator[Path]:
    """Give the folder of an image's tree `root`, short enough for sockets beside it, and open to QEMU's user."""
    with tempfile.TemporaryDirectory(prefix="hvi", dir="/tmp") as name:
        folder = Path(name)
        try:
            bootimage.make(folder)
        except bootimage.NoImageError as error:
            pytest.skip(str(error))
        yield folder
        asyncio.run(remove_tree(folder / "root"))


@pytest.fixture
def place(image: Path) -> Iterator[Path]:
    """Give a folder for one test's files that QEMU's user may pass through."""
    with tempfile.TemporaryDirectory(dir=image, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def give(path: Path) -> None:
    """Make a file QEMU's."""
    os.chown(path, *qemu_ids())

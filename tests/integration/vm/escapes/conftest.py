"""Besieges the host from two guests, once for all tests here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.vm.escapes.besieged import besiege, fill_console
from tests.integration.vm.escapes.siege import Found
from tests.integration.vm.escapes.user import besiege_as_user


@pytest.fixture(scope="session")
def found(image: Path) -> Iterator[Found]:
    with tempfile.TemporaryDirectory(dir=image, prefix="e", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield besiege(image, Path(name))


@pytest.fixture(scope="session")
def found_by_user(image: Path) -> Iterator[Found]:
    # A user's sockets have longer paths than root's, and no more room.
    with tempfile.TemporaryDirectory(prefix="hv", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield besiege_as_user(image, Path(name))


@pytest.fixture
def console(place: Path, image: Path) -> tuple[str, list[int]]:
    return fill_console(image, place)

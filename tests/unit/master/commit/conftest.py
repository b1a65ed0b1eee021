"""Gives the tests of snapshot commits a forge's bare repository, somebody's clone of it, and the master's mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forgerepo import ForgeRepo


@pytest.fixture
def forge(tmp_path: Path) -> ForgeRepo:
    return ForgeRepo(tmp_path / "forge")

"""Removes what tests leave of mapped owners: pytest itself may be a user who cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_workers.sandbox.namespaces.mapped import remove_tree


@pytest.fixture(autouse=True)
def nothing_of_mapped_owners(tmp_path: Path) -> Iterator[None]:
    """Remove every folder in the test's own that somebody else owns something in."""
    yield
    for path in tmp_path.iterdir():
        if path.is_dir() and not path.is_symlink():
            asyncio.run(remove_tree(path))

"""Sends sources through the pipe to a cell that takes them, breaks off or has gone."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from hermit_cli.project import Project
from hermit_proxy.errors import HermitError
from hermit_workers.cell import Cell
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.source.putting import put_source
from hermit_workers.source.worktree import find_source

PLACE = PurePosixPath("/build/p")


class Taking(SandboxCell):
    """Is a cell as far as `put` goes, without namespaces: it takes so many bytes and says no then.

    Half an archive is a mistake, as it is for the real one.
    """

    def __init__(self, most: int | None = None) -> None:
        self.taken = b""
        self._most = most

    async def put(self, archive: int) -> None:
        while piece := await asyncio.to_thread(os.read, archive, 1 << 16):
            self.taken += piece
            if self._most is not None and len(self.taken) > self._most:
                raise HermitError("no more")
        if not self.taken.endswith(bytes(1024)):
            raise HermitError("half an archive")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(1 << 20))
    return Project(folder)


def put(cell: Cell, project: Project, rundir: Path) -> str:
    return asyncio.run(put_source(cell, find_source(project.root), PLACE, rundir))


def test_a_source_arrives_and_its_digest_is_told(project: Project, tmp_path: Path) -> None:
    cell = Taking()
    assert put(cell, project, tmp_path).startswith("sha256:")
    with tarfile.open(fileobj=io.BytesIO(cell.taken)) as archive:
        assert "build/p/large" in archive.getnames()


def test_a_cell_that_breaks_off_ends_the_writing_and_says_why(project: Project, tmp_path: Path) -> None:
    with pytest.raises(HermitError, match="no more"):
        put(Taking(most=1 << 17), project, tmp_path)


def test_a_source_that_cannot_be_read_is_why_the_archive_broke_off(project: Project, tmp_path: Path) -> None:
    source = find_source(project.root)
    os.mkfifo(project.root / "pipe")
    broken = replace(source, paths=(*source.paths, "pipe"))
    with pytest.raises(HermitError, match="is a pipe"):
        asyncio.run(put_source(Taking(), broken, PLACE, tmp_path))

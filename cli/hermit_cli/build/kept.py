"""Keeps what a failed build leaves, one layer a project, for a shell to look at until the next build."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from hermit_cli import runs
from hermit_cli.project import Project
from hermit_proxy.errors import HermitError
from hermit_workers.sandbox.namespaces.mapped import remove_tree, run_mapped

_LAYER, _ABOUT, _LOCK = "layer", "kept.json", "lock"


@dataclass(frozen=True, slots=True)
class About:
    """Is what a kept layer belongs to: the image below it (a digest), the step that failed and where it ran."""

    project: str
    image: str
    step: str
    user: str
    folder: str
    when: str


class Kept:
    """Is the place of one project's kept layer. States: empty <-> full."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which need not be there."""
        self.folder = folder

    @classmethod
    def of(cls, project: Project, environ: Mapping[str, str]) -> Self:
        """Give a project's own."""
        name = hashlib.sha256(os.fsencode(project.root)).hexdigest()[:16]
        return cls(runs.state_dir(environ) / "kept" / name)

    @property
    def layer(self) -> Path:
        """Name the folder that a cell goes on with."""
        return self.folder / _LAYER

    def about(self) -> About | None:
        """Tell what is kept; None where nothing is."""
        try:
            return About(**json.loads((self.folder / _ABOUT).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError) as error:
            raise HermitError(f"{self.folder / _ABOUT}: {error}", hint=f"rm -r {self.folder}") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from replacing the layer or using it twice; raise HermitError where one does so now."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise HermitError("a shell or a build is using what the last build left", hint="end it first") from error
        try:
            yield
        finally:
            os.close(lock)

    async def put(self, layer: Path, about: About) -> int:
        """Take over a layer that no cell uses any more, in place of an earlier one; give its size in bytes.

        Raise HermitError where that cannot be; then nothing is kept.
        """
        with self.held():
            try:
                await self._empty()
                self._take_over(layer, about)
            except OSError as error:
                with suppress(OSError):
                    await self._empty()
                raise self._unwritable(error) from error
            return await _size(self.layer)

    async def remove(self) -> None:
        """Empty the place, unless somebody is using it or the disk refuses; then the next build tries again."""
        if self.folder.exists():
            with suppress(HermitError, OSError), self.held():
                await self._empty()

    def _take_over(self, layer: Path, about: About) -> None:
        layer.rename(self.layer)
        (self.folder / _ABOUT).write_text(json.dumps(asdict(about)) + "\n")

    def _unwritable(self, error: OSError) -> HermitError:
        return HermitError(f"cannot write to {self.folder}: {error.strerror}", hint="free the disk, or XDG_STATE_HOME")

    async def _empty(self) -> None:
        (self.folder / _ABOUT).unlink(missing_ok=True)
        await remove_tree(self.layer)


async def _size(layer: Path) -> int:
    """Give what a layer takes of the disk, 0 where that cannot be told; its folders may be closed to us."""
    with tempfile.TemporaryFile() as said:
        command = ["du", "--summarize", "--block-size=1", "--", str(layer)]
        await run_mapped(command, stdout=said.fileno(), stderr=asyncio.subprocess.DEVNULL)
        said.seek(0)
        return int((said.read().split() or [b"0"])[0])

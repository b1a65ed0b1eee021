"""Stands before a program of the host and has whoever calls it wait, so that a build stops exactly there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


class Halt:
    """Is a program that stands before one of the host's and waits; `reached` tells that somebody has called it.

    It says so and waits for the word through two pipes, which the mapped users may open as well.
    """

    def __init__(self, folder: Path, program: str, *, where: str) -> None:
        """Write it; `where` is a pattern of the shell for the arguments that it waits with."""
        self.folder = folder
        found = shutil.which(program)
        assert found is not None
        # A copy, so that the program can be mounted over the one that it stands before.
        real = shutil.copy2(found, folder / f"{program}.real")
        self._reached, self._go = folder / "reached", folder / "go"
        for pipe in (self._reached, self._go):
            os.mkfifo(pipe)
            pipe.chmod(0o666)
        self._open = [os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for pipe in (self._reached, self._go)]
        script = f'#!/bin/sh\ncase "$*" in {where}) echo >{self._reached}; read -r word <{self._go};; esac\n'
        (folder / program).write_text(f'{script}exec {real} "$@"\n')
        (folder / program).chmod(0o755)

    @property
    def path(self) -> str:
        """Give the PATH that has it first."""
        return f"{self.folder}:{os.environ['PATH']}"

    def reached(self) -> bool:
        """Tell whether it was called."""
        with contextlib.suppress(BlockingIOError):
            return bool(os.read(self._open[0], 1))
        return False

    def release(self) -> None:
        """Let it go on."""
        os.write(self._open[1], b"\n")

    def close(self) -> None:
        """Close the pipes."""
        for descriptor in self._open:
            os.close(descriptor)


@contextlib.contextmanager
def halting(program: str, *, where: str = "*") -> Iterator[Halt]:
    """Give such a program, in a folder that the mapped users reach."""
    with tempfile.TemporaryDirectory(prefix="hermit-test-") as name:
        Path(name).chmod(0o755)
        halt = Halt(Path(name), program, where=where)
        try:
            yield halt
        finally:
            halt.close()

"""Says what every cell can do, so that a build neither knows nor cares whether a sandbox or a VM runs it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Protocol

from hermit_proxy.errors import ExitCode, HermitError

User = Literal["build", "root"]


class CellError(HermitError):
    """Is raised where this machine makes no cell, or where a cell has gone that should be there."""


class LimitError(CellError):
    """Is raised where a limit ended a cell that still had something to do: that is the build's doing."""

    exit_code = ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Limits:
    """Is what a build may use of the machine, kept from outside the cell: bytes, counts, seconds.

    `disk` is what it may write beside the image, `output` what one step may print before the rest is dropped,
    `seconds` the time of the whole build.
    """

    memory: int = 8 << 30
    processes: int = 4096
    disk: int = 20 << 30
    output: int = 64 << 20
    seconds: float = 3 * 3600.0
    artifacts: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Command:
    """Is one program to run in a cell; `environment` is all that it gets."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: PurePosixPath
    user: User = "build"


@dataclass(frozen=True, slots=True)
class Ended:
    """Is how a command ended: its status as a shell tells it (128 + n for signals), and the limit that ended it.

    `exceeded` is a sentence for people (`memory: 8.1 GiB of 8 GiB`), None where it ended by itself. The whole cell is
    over then.
    """

    status: int
    exceeded: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """Is one file that left a cell: its path below the folder that was asked for, and a descriptor to read it from.

    The reader closes the descriptor. `size` is what was counted against the limit; more bytes are never given.
    """

    path: PurePosixPath
    descriptor: int
    size: int
    executable: bool


class Cell(Protocol):
    """Is where one build runs, once.

    States: made -> started -> stopped -> destroyed. `stop` and `destroy` are reached from everywhere, and doing them
    twice is safe.
    """

    async def start(self) -> socket.socket:
        """Make the cell and give the listening socket that is its only wire: the proxy accepts there."""

    async def put(self, archive: int) -> None:
        """Unpack a tar (POSIX.1-2001, read from the descriptor) at the cell's root, with the owners that it names.

        Raise CellError for what is no tar, LimitError where a limit has ended the cell.
        """

    async def run(self, command: Command, *, stdin: int | None = None, output: int) -> Ended:
        """Run a command to its end; what it prints goes to the descriptor `output`.

        What it leaves running stays, and so does everything that it wrote. In a cell that a limit has ended nothing
        runs: the answer says which.
        """

    async def interrupt(self, number: int) -> None:
        """Send a signal to the command that runs."""

    async def stop(self) -> None:
        """End every process of the cell; its files stay."""

    async def take(self, folder: PurePosixPath, patterns: Sequence[str]) -> list[Taken]:
        """Give the files of a stopped cell that match; raise ArtifactError for what is no plain file or too much."""

    async def destroy(self) -> None:
        """Leave nothing: no process, no mount, no file."""

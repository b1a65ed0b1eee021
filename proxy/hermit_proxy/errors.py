"""What can go wrong, told so that a person knows what to do next and a program knows the exit code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of the `hermit` command; scripts may rely on them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_HERMETIC = 3
    MACHINE = 4


class HermitError(Exception):
    """Is raised for everything that ends a run; `hint` says what the reader can do about it."""

    exit_code = ExitCode.MACHINE

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Take one sentence for people and, where there is one, the next step."""
        super().__init__(message)
        self.hint = hint


class UsageError(HermitError):
    """Is raised for a command line that makes no sense."""

    exit_code = ExitCode.USAGE


class NotHermeticError(HermitError):
    """Is raised where a build needs what the rules or the snapshot do not have."""

    exit_code = ExitCode.NOT_HERMETIC


@dataclass(frozen=True, slots=True)
class Mistake:
    """Is one mistake in a file that a person wrote: where it stands and what was expected there."""

    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        """Give the `file:line: message` form that editors and terminals link."""
        where = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        return f"{where}: {self.message}"


class InputError(UsageError):
    """Is raised with every mistake of a file at once, so that one round of mending is enough."""

    def __init__(self, mistakes: list[Mistake], *, hint: str | None = None) -> None:
        """Take at least one mistake."""
        super().__init__("\n".join(str(mistake) for mistake in mistakes), hint=hint)
        self.mistakes = tuple(mistakes)

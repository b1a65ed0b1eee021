"""Says in the words of the commands what git says of a project's repository."""

from __future__ import annotations

from pathlib import Path

from hermit_proxy.errors import UsageError
from hermit_proxy.git import GitError, line


def origin(folder: Path) -> str:
    """Give where the repository of a folder is at home, as its own settings have it; nothing where they do not."""
    return line(folder, "config", "--local", "--get", "remote.origin.url")


def refused(error: GitError, before: str = "", otherwise: str | None = None) -> UsageError:
    """Give the error for a repository that git does not read: git's first line, and the command that it advises."""
    reason, *advice = [part.strip() for part in str(error).splitlines()]
    mend = next((part for part in advice if part.startswith("git config")), otherwise)
    return UsageError(before + reason, hint=mend)

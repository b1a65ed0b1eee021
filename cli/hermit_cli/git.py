"""Asks git where a project's repository is at home."""

from __future__ import annotations

from pathlib import Path

from hermit_proxy.git import line


def origin(folder: Path) -> str:
    """Give where the repository of a folder is at home, as its own settings have it; nothing where they do not."""
    return line(folder, "config", "--local", "--get", "remote.origin.url")

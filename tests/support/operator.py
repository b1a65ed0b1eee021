"""Writes what an operator writes: a folder with hermit.yaml, repositories and secrets that are closed to others."""

from __future__ import annotations

from pathlib import Path

HOOK_SECRET = "a-secret-of-the-hook"
MASTER = "url: https://ci.example.org/\n"
REPOSITORY = "forge: github\nurl: https://forge.example.org/org/project.git\nbranch: main\nhook_secret: ../hook\n"


class Operator:
    """Is a folder of settings that can be read; what a test writes into it may be wrong."""

    def __init__(self, folder: Path) -> None:
        """Make the smallest folder that can be read: a master without repositories."""
        self.folder = folder
        self.file = folder / "hermit.yaml"
        self.repositories = folder / "repositories"
        self.repositories.mkdir(parents=True)
        self.write(MASTER)
        self.secret("hook", HOOK_SECRET)

    def write(self, text: str) -> None:
        """Write hermit.yaml."""
        self.file.write_text(text)

    def repository(self, name: str, text: str = REPOSITORY) -> Path:
        """Write one repository's file."""
        path = self.repositories / f"{name}.yaml"
        path.write_text(text)
        return path

    def secret(self, name: str, text: str, *, mode: int = 0o600) -> Path:
        """Write a file that only its owner can read."""
        path = self.folder / name
        path.write_text(text + "\n")
        path.chmod(mode)
        return path

"""Asks git about a work tree without letting the repository run anything: its settings are as strange as its files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from hermit_proxy.errors import HermitError, UsageError

_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false")
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
# What git runs over contents, by attributes: without them contents count as they lie there (gitattributes(5)).
_NO_FILTER = {"clean": "", "smudge": "", "process": "", "required": "false"}
SUBMODULE = 0o160000


@dataclass(frozen=True, slots=True)
class Tracked:
    """Is one line of git's index; `absent` says that a sparse checkout leaves the file out."""

    mode: int
    oid: str
    stage: int
    path: str
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Repository:
    """Is a work tree of git's; `top` is its top folder."""

    top: Path
    _settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def around(cls, folder: Path) -> Self | None:
        """Give the work tree that a folder is in, None where it is in none; raise UsageError where git refuses it."""
        if not any((above / ".git").exists() for above in (folder, *folder.parents)):
            return None
        try:
            top = cls(folder).ask("rev-parse", "--show-toplevel").removesuffix(b"\n")
        except HermitError as error:
            reason, *advice = [line.strip() for line in str(error).splitlines()]
            mend = next((line for line in advice if line.startswith("git config")), None)
            raise UsageError(reason, hint=mend) from error
        found = cls(Path(os.fsdecode(top)))
        return cls(found.top, found.without_filters())

    def ask(self, *arguments: str, given: bytes = b"") -> bytes:
        """Run git in the work tree and give what it says; raise HermitError with its words where it fails."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT
        environ |= _as_variables(self._settings)
        command = [*_GIT, "-C", str(self.top), *arguments]
        try:
            done = subprocess.run(command, env=environ, input=given, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise HermitError("git is not installed", hint="apt-get install git") from error
        if done.returncode:
            raise HermitError(f"git {arguments[0]} in {self.top}: {os.fsdecode(done.stderr).strip()}")
        return done.stdout

    def line(self, *arguments: str) -> str:
        """Give the one line that git says, or nothing where it fails: there is no such thing."""
        try:
            return os.fsdecode(self.ask(*arguments)).strip()
        except HermitError:
            return ""

    def paths(self, *arguments: str) -> list[str]:
        """Give a list that git ends with NUL each."""
        return [os.fsdecode(name) for name in self.ask(*arguments).split(b"\0") if name]

    def index(self) -> Iterator[Tracked]:
        """Give git's index in its own order."""
        for line in self.paths("ls-files", "-z", "-t", "--stage"):
            about, _, path = line.partition("\t")
            tag, mode, oid, stage = about.split(" ")
            yield Tracked(int(mode, 8), oid, int(stage), path, absent=tag == "S")

    def changes(self) -> dict[str, str]:
        """Give what differs from the last commit: paths with git's two letters; submodules not looked into."""
        listed = ("status", "--porcelain=v1", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames")
        return {line[3:]: line[:2] for line in self.paths(*listed)}

    def untracked(self) -> list[str]:
        """Give the files that git neither tracks nor ignores; a repository of its own is told with a `/` at its end."""
        return self.paths("ls-files", "-z", "--others", "--exclude-standard")

    def without_filters(self) -> dict[str, str]:
        """Give the settings that turn off every filter that the repository or its user has."""
        found: dict[str, str] = {}
        for name in self.paths("config", "-z", "--name-only", "--list"):
            kind, _, rest = name.partition(".")
            driver, dot, _ = rest.rpartition(".")
            if kind == "filter" and dot:
                found |= {f"filter.{driver}.{key}": value for key, value in _NO_FILTER.items()}
        return found


def _as_variables(settings: dict[str, str]) -> dict[str, str]:
    """Give settings as git takes them whatever signs are in their names (git-config(1), GIT_CONFIG_COUNT)."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables

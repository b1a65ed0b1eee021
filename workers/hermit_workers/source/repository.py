"""Looks at a work tree of git's as it lies there: what is tracked, changed and new, with no filter run over it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from hermit_proxy import git
from hermit_proxy.errors import UsageError

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
    """Is a work tree of git's; `top` is its top folder, `settings` are all that hold in it (of several the last)."""

    top: Path
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def around(cls, folder: Path) -> Self | None:
        """Give the work tree that a folder is in, None where it is in none; raise UsageError where git refuses it."""
        if not any((above / ".git").exists() for above in (folder, *folder.parents)):
            return None
        try:
            top = cls(folder).ask("rev-parse", "--show-toplevel").removesuffix(b"\n")
        except git.GitError as error:
            raise git.refused(error) from error
        found = cls(Path(os.fsdecode(top)))
        return cls(found.top, found._read_settings())

    def ask(self, *arguments: str, given: bytes = b"") -> bytes:
        """Run git in the work tree and give what it says; raise GitError with its words where it fails."""
        return git.ask(self.top, *arguments, given=given, settings=self.without_filters())

    def line(self, *arguments: str) -> str:
        """Give the one line that git says, or nothing where it fails: there is no such thing."""
        return git.line(self.top, *arguments)

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

    def pack(self, oids: list[str], folder: Path) -> None:
        """Write one pack of objects, their history and what is staged into `folder`, an empty one named `objects`.

        The repository itself is only read: git would put the unfinished pack there, which may be read-only or on
        another disk.
        """
        for name in ("pack", "info"):
            (folder / name).mkdir(parents=True)
        command = ("pack-objects", "--revs", "--indexed-objects", "--quiet", "--delta-base-offset", "--window=0")
        given = "".join(f"{oid}\n" for oid in oids).encode()
        objects = folder, self.top / self.line("rev-parse", "--git-path", "objects")
        git.ask(
            self.top, *command, str(folder / "pack/pack"), given=given, settings=self.without_filters(), objects=objects
        )

    def check_whole(self, commit: str) -> None:
        """Raise UsageError for a partial clone that lacks something of a commit's history: nothing is fetched here."""
        if not any(name.startswith("remote.") and name.endswith(".promisor") for name in self.settings):
            return
        listed = self.ask("rev-list", "--objects", "--indexed-objects", "--missing=print", commit)
        missing = sum(entry.startswith(b"?") for entry in listed.splitlines())
        if missing:
            raise UsageError(
                f"{self.top} is a partial clone that lacks {missing} object{'s' * (missing > 1)} of its history",
                hint="git fetch --refetch --no-filter    (or clone it without --filter; --depth is fine)",
            )

    def packed(self) -> int:
        """Give the size of the history in bytes, as far as it is packed."""
        told = dict(entry.split(": ", 1) for entry in os.fsdecode(self.ask("count-objects", "-v")).splitlines())
        return int(told.get("size-pack", 0)) << 10

    def without_filters(self) -> dict[str, str]:
        """Give the settings that turn off every filter that the repository or its user has."""
        found: dict[str, str] = {}
        for name in self.settings:
            kind, _, rest = name.partition(".")
            driver, dot, _ = rest.rpartition(".")
            if kind == "filter" and dot:
                found |= {f"filter.{driver}.{key}": value for key, value in _NO_FILTER.items()}
        return found

    def _read_settings(self) -> dict[str, str]:
        listed = (entry.partition("\n") for entry in self.paths("config", "-z", "--list"))
        return {name: value for name, _, value in listed}

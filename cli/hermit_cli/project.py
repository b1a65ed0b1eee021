"""Finds the project that a command works on, and what belongs to it."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# A URL or ssh's short form, `[user@]host:path`; a local path is none of them.
_HOST = "(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)"
_REMOTES = (
    re.compile(rf"[a-z+]+://(?:[^@/]*@)?{_HOST}(?::[0-9]+)?/+(?P<path>.+?)(?:\.git)?/*"),
    re.compile(rf"(?:[^@/:]+@)?{_HOST}:/*(?P<path>.+?)(?:\.git)?/*"),
)
_FOREIGN = re.compile(r"[^A-Za-z0-9._/-]+")
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Project:
    """Is a folder of a person's with its `.hermit` folder, which need not be there yet."""

    root: Path

    @property
    def hermit_dir(self) -> Path:
        """Give the folder of everything that the project says to Hermit."""
        return self.root / ".hermit"

    @property
    def rules(self) -> Path:
        """Give the rules file."""
        return self.hermit_dir / "rules.yaml"

    @property
    def network(self) -> Path:
        """Give the snapshot's folder, one file for each host."""
        return self.hermit_dir / "network"

    def pool(self) -> str:
        """Name the pool of observations: after the repository's origin, so that all clones share one."""
        return pool_name(_origin(self.root), self.root)


def find_project(start: Path) -> Project:
    """Walk up to the folder that has `.hermit`; else the top of the git work tree; else the start itself."""
    start = start.resolve()
    above = (start, *start.parents)
    for name in (".hermit", ".git"):
        for folder in above:
            if (folder / name).exists():
                return Project(folder)
    return Project(start)


def has_snapshot(network: Path) -> bool:
    """Tell whether there is a snapshot; an empty folder is none."""
    return network.is_dir() and any(network.glob("*.yaml"))


def pool_name(origin: str, root: Path) -> str:
    """Give `host/path` of a remote, or the folder's name with a digest of its place; never credentials of a URL."""
    found = next((found for remote in _REMOTES if (found := remote.fullmatch(origin))), None)
    if found:
        name = _FOREIGN.sub("-", f"{found['host'].lower()}/{found['path']}").lstrip("./-_")
        if name and len(name) <= _LONGEST and ".." not in name.split("/"):
            return name
    place = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:12]
    return f"local/{_FOREIGN.sub('-', root.name).strip('./-_')[:64] or 'root'}-{place}"


def _origin(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "config", "--local", "--get", "remote.origin.url"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""

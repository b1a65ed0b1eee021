"""Finds the project that a command works on, and what belongs to it."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hermit_cli import git
from hermit_proxy.errors import UsageError
from hermit_proxy.snapshot.recorded import FILE_NAME as RECORDED
from hermit_proxy.store.poolname import pool_name


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

    @property
    def is_recorded(self) -> bool:
        """Tell whether there is a snapshot. With a time of its recording and no entry it is one: of nothing."""
        # Git keeps no empty folder. A link in its place is somebody's mistake, and told where it is read.
        return has_snapshot(self.network) or os.path.lexists(self.hermit_dir / RECORDED)

    def pool(self) -> str:
        """Name the pool of observations: after the repository's origin, so that all clones share one."""
        return pool_name(_origin(self.root), self.root)


def find_project(start: Path) -> Project:
    """Walk up to the folder that has `.hermit`; else the top of the git work tree; else the start itself.

    Nothing above the top of the work tree or the user's home counts, and outside of git nothing that others could have
    put there: a stranger's /tmp/.hermit must not rule what is built below /tmp. Raise UsageError where `.hermit`
    belongs to somebody else.
    """
    start = start.resolve()
    above = _up_to_home(start)
    top = next((folder for folder in above if _is_top(folder)), None)
    for folder in above[: above.index(top) + 1] if top else _of_one_owner(above):
        project = Project(folder)
        if project.hermit_dir.exists():
            _check_owner(project.hermit_dir, top or start)
            return project
    return Project(top or start)


def _up_to_home(start: Path) -> tuple[Path, ...]:
    above = (start, *start.parents)
    home = Path(os.environ.get("HOME") or "/").resolve()
    return above[: above.index(home) + 1] if home in above else above


def _is_top(folder: Path) -> bool:
    """Tell whether this is the top of a work tree; a `.git` that another user has put into a shared folder is none."""
    git = folder / ".git"
    if not git.exists():
        return False
    return git.lstat().st_uid in {folder.stat().st_uid, 0, os.geteuid()}


def _of_one_owner(above: tuple[Path, ...]) -> Iterator[Path]:
    """Give the start, and the folders above it as long as its owner alone can put something there."""
    owner = above[0].stat().st_uid
    yield above[0]
    for folder in above[1:]:
        status = folder.stat()
        if status.st_uid != owner or status.st_mode & stat.S_IWOTH:
            return
        yield folder


def _check_owner(hermit_dir: Path, place: Path) -> None:
    """Let root work in a checkout of a user's with that user's rules; else they are one's own, or root's."""
    user = os.geteuid()
    trusted = {user, 0} | ({place.stat().st_uid} if user == 0 else set())
    for status in (hermit_dir.lstat(), hermit_dir.stat()):
        if status.st_uid not in trusted:
            raise UsageError(
                f"{hermit_dir} belongs to {_user_name(status.st_uid)}, whose rules would decide what you fetch",
                hint=f"if it is yours: chown -R {_user_name(user)} {hermit_dir}; else work in a folder of your own",
            )


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def has_snapshot(network: Path) -> bool:
    """Tell whether a folder holds a snapshot; an empty one holds none."""
    return network.is_dir() and any(network.glob("*.yaml"))


def _origin(root: Path) -> str:
    return git.origin(root) if (root / ".git").exists() else ""

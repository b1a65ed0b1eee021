"""Reads a snapshot where a person points: at a folder, or at a commit, branch or tag of the repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from hermit_cli.place import network_in
from hermit_cli.project import Project
from hermit_proxy.errors import HermitError, InputError, Mistake, UsageError
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_files, read_tree

_NETWORK = ".hermit/network/"
_SYMLINK = "120000"
# A repository's own settings must not run programs or fetch, and a diff must not wait for a lock.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_ENVIRONMENT = {"LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def read_side(text: str, project: Project) -> Snapshot:
    """Read one side of a comparison: a folder where there is one of that name, else a git revision.

    Raise UsageError where there is neither, InputError for mistakes in the snapshot.
    """
    folder = Path(text)
    if text and folder.is_dir():
        return read_tree(network_in(folder))
    return read_revision(text, project)


def read_revision(revision: str, project: Project) -> Snapshot:
    """Read the snapshot that a commit has; a commit without one has an empty one."""
    _check_repository(revision, project)
    try:
        tree = _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{tree}}").strip()
    except HermitError as error:
        if not _git(project, "rev-list", "--all", "--max-count=1"):
            message = f"the repository at {project.root} has no commit yet, so there is no {revision!r}"
            raise UsageError(message, hint="git commit, or name two folders: hermit snapshot diff A B") from error
        message = f"{revision!r} is neither a folder nor a revision of the repository at {project.root}"
        raise UsageError(message, hint="git log --oneline -- .hermit/network lists the recordings") from error
    files: dict[str, bytes] = {}
    folder = Path(f"{revision}:{_NETWORK}")
    for line in os.fsdecode(_git(project, "ls-tree", "-r", "-z", os.fsdecode(tree), "--", _NETWORK)).split("\0"):
        about, _, path = line.partition("\t")
        if not path:
            continue
        mode, kind, blob = about.split(" ")
        name = path.removeprefix(_NETWORK)
        if kind != "blob" or mode == _SYMLINK:
            raise InputError([Mistake(folder / name, None, "expected a regular file")])
        files[name] = _git(project, "cat-file", "blob", blob)
    return Snapshot(entry for entries in read_files(files, folder).values() for entry in entries)


def _check_repository(revision: str, project: Project) -> None:
    """Pass on why git reads nothing here: there is no repository, or it belongs to somebody else."""
    try:
        _git(project, "rev-parse", "--git-dir")
    except HermitError as error:
        reason, *advice = [line.strip() for line in str(error).splitlines()]
        mend = next((line for line in advice if line.startswith("git config")), "name two folders")
        raise UsageError(f"{revision!r} is no folder, and {reason}", hint=mend) from error


def _git(project: Project, *arguments: str) -> bytes:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT
    command = [*_GIT, "-C", str(project.root), *arguments]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise HermitError("git is not installed", hint="apt-get install git") from error
    if done.returncode:
        raise HermitError(f"git {arguments[0]} in {project.root}: {os.fsdecode(done.stderr).strip()}")
    return done.stdout

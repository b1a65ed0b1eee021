"""Reads a snapshot where a person points: at a folder, or at a commit, branch or tag of the repository."""

from __future__ import annotations

import os
from pathlib import Path

from hermit_cli.place import network_in
from hermit_cli.project import Project
from hermit_proxy import git
from hermit_proxy.errors import InputError, Mistake, UsageError
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_files, read_tree

_NETWORK = ".hermit/network/"
_SYMLINK = "120000"


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
    root = project.root
    _check_repository(revision, root)
    try:
        named = f"{revision}^{{tree}}"
        tree = git.ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", named).strip()
    except git.GitError as error:
        if not git.ask(root, "rev-list", "--all", "--max-count=1"):
            message = f"the repository at {project.root} has no commit yet, so there is no {revision!r}"
            raise UsageError(message, hint="git commit, or name two folders: hermit snapshot diff A B") from error
        message = f"{revision!r} is neither a folder nor a revision of the repository at {project.root}"
        raise UsageError(message, hint="git log --oneline -- .hermit/network lists the recordings") from error
    files: dict[str, bytes] = {}
    folder = Path(f"{revision}:{_NETWORK}")
    for line in os.fsdecode(git.ask(root, "ls-tree", "-r", "-z", os.fsdecode(tree), "--", _NETWORK)).split("\0"):
        about, _, path = line.partition("\t")
        if not path:
            continue
        mode, kind, blob = about.split(" ")
        name = path.removeprefix(_NETWORK)
        if kind != "blob" or mode == _SYMLINK:
            raise InputError([Mistake(folder / name, None, "expected a regular file")])
        files[name] = git.ask(root, "cat-file", "blob", blob)
    return Snapshot(entry for entries in read_files(files, folder).values() for entry in entries)


def _check_repository(revision: str, root: Path) -> None:
    """Pass on why git reads nothing here: there is no repository, or it belongs to somebody else."""
    try:
        git.ask(root, "rev-parse", "--git-dir")
    except git.GitError as error:
        raise git.refused(error, f"{revision!r} is no folder, and ", "name two folders") from error

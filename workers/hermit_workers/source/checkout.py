"""Brings one commit of a repository into a folder, for a build that begins without anybody's work tree."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hermit_proxy import git
from hermit_proxy.errors import UsageError
from hermit_workers.source.repository import Repository

FETCH_SECONDS = 1800.0
_REFS = "refs/"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# What a URL could have git run, what would make other bytes of the same commit, and a silence that never ends.
_SETTINGS = {
    "protocol.ext.allow": "never",
    "core.autocrlf": "false",
    "submodule.recurse": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
}


def thd_check_out(repository: str, commit: str, branch: str, folder: Path, leash: git.Leash | None = None) -> str:
    """Make `folder` a clone of a repository with a commit of a branch checked out, no filter run over it; give that.

    It is as a person's clone would be: with the history, the tags and the address. Without a branch the commit is of
    a tag or of the repository's HEAD; without a commit it is the last one. A branch that begins with `refs/` is
    another kind of ref, as hooks tell of tags and pull requests; its commit is on no branch then. Raise UsageError for
    what no such commit can be, GitError with git's words where it cannot be had. `leash` ends a fetch that somebody
    keeps waiting.
    """
    leash = leash or git.Leash(FETCH_SECONDS)
    if not repository or repository.startswith("-"):
        raise UsageError(f"{repository!r} is no address of a repository")
    if commit and not _COMMIT.fullmatch(commit):
        raise UsageError(f"{commit!r} is no commit", hint="a build is of a commit, told by all of its digits")
    folder.mkdir(mode=0o755, parents=True)
    _check_branch(branch, folder)
    git.ask(folder, "init", "--quiet", "--template=", settings=_SETTINGS)
    git.ask(folder, "config", "remote.origin.url", repository)
    detached = not branch or branch.startswith(_REFS)
    wanted = branch or "HEAD" if detached else f"+refs/heads/{branch}:refs/remotes/origin/{branch}"
    words = ("fetch", "--quiet", "--tags", "--no-recurse-submodules", "origin", wanted)
    git.ask(folder, *words, settings=_SETTINGS, leash=leash)
    commit = commit or git.line(folder, "rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}")
    if not git.line(folder, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"):
        where = (branch or "its HEAD and tags") if detached else f"the branch {branch}"
        raise git.GitError(f"the repository has no commit {commit} in {where}", hint="push it, or build another one")
    to = ("--detach",) if detached else ("--no-track", "-B", branch)
    settings = _settings_of(folder) | _SETTINGS
    git.ask(folder, "checkout", "--quiet", "--force", *to, commit, settings=settings)
    return commit


def _check_branch(branch: str, folder: Path) -> None:
    try:
        if branch:
            git.ask(folder, "check-ref-format", branch if branch.startswith(_REFS) else f"refs/heads/{branch}")
    except git.GitError as error:
        raise UsageError(f"{branch!r} is no name of a branch") from error
    if branch.startswith("-"):
        raise UsageError(f"{branch!r} is no name of a branch")


def _settings_of(folder: Path) -> dict[str, str]:
    """Give the settings that turn off the filters of whoever runs this."""
    listed = (entry.partition("\n") for entry in os.fsdecode(git.ask(folder, "config", "-z", "--list")).split("\0"))
    return Repository(folder, {name: value for name, _, value in listed}).without_filters()

"""Puts a recording's snapshot where it belongs: on its branch, or on one of Hermit's own for a pull request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from hermit_master.commit.objects import make_commit
from hermit_master.commit.own import OwnCommits
from hermit_master.commit.remote import Remote
from hermit_master.names import Branch, Login, RepositoryId, Sha, parse_branch
from hermit_master.settings.master import Author
from hermit_proxy.git import GitError

Value = TypeVar("Value")

_OURS = "hermit/record/"


class InThread(Protocol):
    """Is how a function that blocks is run: Twisted's `deferToThread`."""

    def __call__(self, function: Callable[..., Value], /, *arguments: object) -> Awaitable[Value]:
        """Run it elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Recording:
    """Is a build that recorded `commit` at the head of `branch`, which `sender` had pushed, and what it wrote.

    `files` have names below `.hermit` (see objects.py). `default` is the repository's default branch.
    """

    repository: RepositoryId
    branch: Branch
    commit: Sha
    default: Branch
    sender: Login | None
    files: Mapping[str, bytes]

    @property
    def target(self) -> Branch:
        """Give the branch that the snapshot goes to: never the default one."""
        return parse_branch(f"{_OURS}{self.branch}") if self.branch == self.default else self.branch


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Is told where the snapshot is what the commit has already: that commit is built hermetically."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """Is told where the snapshot was committed; a pull request is wanted where `branch` is not the recorded one."""

    branch: Branch
    commit: Sha


@dataclass(frozen=True, slots=True)
class Moved:
    """Is told where the recorded branch has another commit by now (None: is gone): the recording is dropped."""

    branch: Branch
    now: Sha | None


@dataclass(frozen=True, slots=True)
class Occupied:
    """Is told where the branch of the pull request has a commit that is not Hermit's: it stays as it is."""

    branch: Branch
    tip: Sha


Outcome = Unchanged | Pushed | Moved | Occupied


@dataclass(frozen=True, slots=True)
class Committer:
    """Commits recordings of one repository: a bare mirror that has its commits, and where it is at home."""

    mirror: Path
    remote: Remote
    author: Author
    own: OwnCommits
    in_thread: InThread

    async def commit(self, recording: Recording, message: str) -> Outcome:
        """Commit and push; raise HermitError where git or the forge fail for another reason than those told."""
        files = recording.files
        made = await self.in_thread(make_commit, self.mirror, recording.commit, files, self.author, message)
        if made is None:
            return Unchanged()
        now = await self._tip(recording.branch)
        if now != recording.commit:
            return self._dropped(recording, made, now)
        lease: Sha | None = recording.commit
        if recording.target != recording.branch:
            lease = await self._tip(recording.target)
            if lease is not None and not await self.own.has(recording.repository, lease):
                return Occupied(recording.target, lease)
        # Before the push: the forge's hook may be here before git has ended.
        await self.own.enter(recording.repository, made, recording.commit, recording.sender)
        try:
            await self.in_thread(self.remote.push, self.mirror, made, recording.target, lease)
        except GitError:
            # The forge knows what became of it, whatever the connection has said.
            tip = await self._tip(recording.target)
            if tip == lease:
                raise
            return self._dropped(recording, made, tip)
        return Pushed(recording.target, made)

    def _dropped(self, recording: Recording, made: Sha, tip: Sha | None) -> Outcome:
        """Tell of a branch that has moved; to this very commit, if it was pushed before and a crash came in between."""
        return Pushed(recording.target, made) if tip == made else Moved(recording.target, tip)

    async def _tip(self, branch: Branch) -> Sha | None:
        return await self.in_thread(self.remote.tip, self.mirror, branch)

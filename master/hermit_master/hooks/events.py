"""Says what a forge can tell that matters here: a push, a pull request, or something to be passed over."""

from __future__ import annotations

from dataclasses import dataclass

from hermit_master.mode import Kind
from hermit_master.names import Branch, Login, Sha, Tag


@dataclass(frozen=True, slots=True)
class Commit:
    """Is a commit as a forge shows it; all but `sha` and `tree` is a stranger's free text, made printable."""

    sha: Sha
    tree: Sha | None = None
    author: str = ""
    message: str = ""
    time: int | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """Is a branch or tag that now has a commit; however many were pushed, the head is the one that counts.

    `sender` is whom the forge names, None where it names nobody. `default` is what the forge calls its default branch.
    """

    ref: Branch | Tag
    kind: Kind
    commit: Commit
    default: Branch
    sender: Login | None = None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Is a pull request from another repository whose head is new; one from within is built as a branch."""

    number: int
    base: Branch
    commit: Commit
    default: Branch
    sender: Login | None = None

    @property
    def ref(self) -> str:
        """Give the ref by which GitHub and Gitea keep its head in the base's repository."""
        return f"refs/pull/{self.number}/head"


@dataclass(frozen=True, slots=True)
class Ignored:
    """Is an event that asks for no build, and why."""

    reason: str


Event = Push | PullRequest | Ignored

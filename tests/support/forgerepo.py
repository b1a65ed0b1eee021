"""Makes a bare repository as a forge has it, a person's work tree that pushes to it, and the master's mirror."""

from __future__ import annotations

from pathlib import Path

from hermit_master.names import Sha, parse_sha
from tests.support.repository import git


class ForgeRepo:
    """Is a repository with one commit on `main`, and a branch `topic` at it."""

    def __init__(self, folder: Path) -> None:
        """Make it."""
        self.bare, self.tree, self.mirror = folder / "bare.git", folder / "work", folder / "mirror.git"
        for bare in (self.bare, self.mirror):
            bare.mkdir(parents=True)
            git(bare, "init", "-q", "--bare", "-b", "main")
        self.tree.mkdir()
        git(self.tree, "init", "-q", "-b", "main")
        git(self.tree, "remote", "add", "origin", str(self.bare))
        (self.tree / "README").write_text("a project\n")
        self.push("main")
        self.push("topic")

    @property
    def url(self) -> str:
        """Give where it is cloned from."""
        return self.bare.as_uri()

    def push(self, branch: str, *, message: str = "a change", force: bool = False) -> Sha:
        """Commit what lies in the work tree and push it to a branch; the mirror has it as well. Give the commit."""
        git(self.tree, "add", "-A", "-f")
        git(self.tree, "commit", "-q", "--allow-empty", "-m", message)
        git(self.tree, "push", "-q", *(["--force"] if force else []), "origin", f"HEAD:refs/heads/{branch}")
        git(self.mirror, "fetch", "-q", str(self.bare), "+refs/heads/*:refs/heads/*", "--prune")
        return parse_sha(git(self.tree, "rev-parse", "HEAD"))

    def tip(self, branch: str) -> str:
        """Give what a branch has, nothing where there is none."""
        return git(self.bare, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def show(self, commit: str, path: str) -> str:
        """Give a file of a commit that was pushed."""
        return git(self.bare, "show", f"{commit}:{path}")

    def paths(self, commit: str, *, bare: Path | None = None) -> list[str]:
        """List the files of a commit."""
        return git(bare or self.bare, "ls-tree", "-r", "--name-only", commit).split("\n")

"""Reads what a repository's branches, tags and work trees name, so that garbage collection knows what to keep."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.errors import HermitError
from hermit_proxy.git import GitError, ask
from hermit_proxy.snapshot import swap, tree
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.body import StoreError

_SYMLINK = "120000"


class SnapshotUnreadableError(StoreError):
    """Is raised when a repository cannot be asked in full what it names; nothing may be deleted then."""


@dataclass(frozen=True, slots=True)
class PoolRepository:
    """Is a clone, bare or not, whose snapshots name a pool's bodies; `network` is the snapshot's folder inside it."""

    path: Path
    network: str = ".hermit/network"


@dataclass(frozen=True, slots=True)
class SnapshotFolder:
    """Is a snapshot that stands alone, in no repository: an image's, beside the image."""

    path: Path


@dataclass(frozen=True, slots=True)
class Named:
    """Is what snapshots name: digests of bodies, and ids of entries."""

    bodies: frozenset[str]
    entries: frozenset[str]

    @classmethod
    def union(cls, parts: Iterable[Named]) -> Named:
        """Give what any of the parts names."""
        parts = tuple(parts)
        return cls(frozenset().union(*(p.bodies for p in parts)), frozenset().union(*(p.entries for p in parts)))


class SnapshotReader:
    """Reads the snapshots of repositories; what many commits share is read once, however often it is asked for."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._commits: dict[str, list[tuple[str, str]]] = {}
        self._files: dict[tuple[str, str], Named] = {}

    def named(self, repository: PoolRepository | SnapshotFolder) -> Named:
        """Read every ref (branches, tags, remotes, stash) and every work tree, its HEAD and its files.

        Raise SnapshotUnreadableError for anything that is there and cannot be read: a broken ref, a missing
        object, a snapshot that does not parse.
        """
        try:
            if isinstance(repository, SnapshotFolder):
                return _alone(repository.path)
            committed = [self._file(repository, ref, *file) for ref, file in self._committed(repository)]
            return Named.union([*committed, *_checked_out(repository)])
        except SnapshotUnreadableError:
            raise
        except GitError as error:  # it names the repository
            raise SnapshotUnreadableError(str(error)) from error
        except (HermitError, OSError) as error:
            raise SnapshotUnreadableError(f"{repository.path}: {error}") from error

    def _committed(self, repository: PoolRepository) -> Iterator[tuple[str, tuple[str, str]]]:
        for commit, ref in _tips(repository).items():
            if commit not in self._commits:
                self._commits[commit] = list(_listing(repository, commit, ref))
            for file in self._commits[commit]:
                yield ref, file

    def _file(self, repository: PoolRepository, ref: str, blob: str, name: str) -> Named:
        # By name as well: a file's name is its host, and what does not agree with it is refused.
        if (blob, name) not in self._files:
            text = _git(repository, "cat-file", "blob", blob)
            folder = Path(f"{repository.path}:{ref}:{repository.network}")
            self._files[blob, name] = _named(tree.read_files({name: text}, folder)[name])
        return self._files[blob, name]


def _tips(repository: PoolRepository) -> dict[str, str]:
    """Give the objects that refs and work trees stand at, each with one ref that says so."""
    tips: dict[str, str] = {}
    for line in _lines(_git(repository, "for-each-ref", "--format=%(objectname) %(refname)"), "\n"):
        oid, _, ref = line.partition(" ")
        tips.setdefault(oid, ref)
    for path, head in _work_trees(repository):
        if head is not None:
            tips.setdefault(head, f"HEAD of {path}")
    asked = "".join(f"{oid}^{{}}\n" for oid in tips).encode()
    answers = _lines(_git(repository, "cat-file", "--batch-check=%(objecttype)", stdin=asked), "\n")
    kinds = dict(zip(tips, answers, strict=True))
    # A tag may be of a blob, which holds no snapshot. Whatever else is no commit or tree fails when it is listed.
    return {oid: ref for oid, ref in tips.items() if kinds[oid] != "blob"}


def _listing(repository: PoolRepository, commit: str, ref: str) -> Iterator[tuple[str, str]]:
    folder = f"{repository.network}/"
    for line in _lines(_git(repository, "ls-tree", "-r", "-z", "--full-tree", commit, "--", folder), "\0"):
        about, _, path = line.partition("\t")
        mode, kind, blob = about.split(" ")
        if kind != "blob" or mode == _SYMLINK:
            raise SnapshotUnreadableError(f"{repository.path}: {ref}: {path} is no regular file")
        yield blob, path.removeprefix(folder)


def _work_trees(repository: PoolRepository) -> Iterator[tuple[Path, str | None]]:
    listing = os.fsdecode(_git(repository, "worktree", "list", "--porcelain", "-z"))
    for block in listing.split("\0\0"):
        lines = dict(line.partition(" ")[::2] for line in block.split("\0") if line)
        if lines and "bare" not in lines:
            head = lines.get("HEAD", "")
            yield Path(lines["worktree"]), head if head.strip("0") else None


def _checked_out(repository: PoolRepository) -> Iterator[Named]:
    for path, _ in _work_trees(repository):
        folder = path / repository.network
        if not folder.parent.is_dir():
            continue
        # The writer of a snapshot exchanges the folder under this lock.
        with swap.locked(folder.parent):
            if not folder.exists() and any(folder.parent.glob(f".{folder.name}.*")):
                raise SnapshotUnreadableError(f"{folder} is half-written", hint="record again, which mends it")
            for entries in tree.read_tree_files(folder).values():
                yield _named(entries)


def _alone(folder: Path) -> Named:
    if not folder.is_dir():
        raise SnapshotUnreadableError(f"there is no snapshot at {folder}")
    return Named.union(_named(entries) for entries in tree.read_tree_files(folder).values())


def _named(entries: list[Entry]) -> Named:
    bodies = frozenset(entry.sha256 for entry in entries if entry.sha256 is not None)
    return Named(bodies, frozenset(entry.id for entry in entries))


def _lines(output: bytes, end: str) -> list[str]:
    return [line for line in os.fsdecode(output).split(end) if line]


def _git(repository: PoolRepository, *arguments: str, stdin: bytes = b"") -> bytes:
    return ask(repository.path, *arguments, given=stdin, strict=True)

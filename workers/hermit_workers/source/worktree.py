"""Finds what of a project goes into a build: what a clone would have, with what its owner has changed since."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hermit_proxy.errors import HermitError, UsageError
from hermit_workers.sandbox.limits.rlimits import size as readable
from hermit_workers.source.gitfolder import Head, read_head
from hermit_workers.source.repository import SUBMODULE, Repository, Tracked

# The time of a source that has no commit: always the same, and one that every archive can hold (zip begins in 1980).
NO_COMMIT_EPOCH = 315_532_800
# Below `.hermit`: what Hermit writes of a build is no part of it, or recording would change what is built.
_RECORDS = ("image.lock", "network", "out", "recorded")
# From here on a build has to wait for its history: half a minute and more.
_LONG_HISTORY = 1 << 30
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Source:
    """Is what goes into a build.

    `top` is the folder that goes in and `below` the project's place in it (`.` unless it is a part of a larger
    repository). `paths` are files, links and empty folders, relative to `top`. `head` is None without a commit;
    `repository`, `index` and `changed` (paths that are not as the index says) are for its `.git`. `changes` counts what
    no commit has; `notes` are for people.
    """

    top: Path
    below: Path
    paths: tuple[str, ...]
    head: Head | None = None
    repository: Repository | None = None
    index: tuple[Tracked, ...] = ()
    changed: frozenset[str] = frozenset()
    changes: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def epoch(self) -> int:
        """Give SOURCE_DATE_EPOCH: the commit's time, or a fixed one."""
        return self.head.epoch if self.head else NO_COMMIT_EPOCH


def find_source(root: Path) -> Source:
    """Look at a project's folder; raise UsageError where it holds what no source can have."""
    root = root.resolve()
    repository = Repository.around(root)
    if repository is None:
        if root in {Path("/"), Path.home().resolve()}:
            raise UsageError(f"{root} is no project: all of it would go into the build", hint="hermit build PATH")
        return Source(root, Path(), tuple(sorted(_walk(root, _records(Path())), key=os.fsencode)))
    return _from_git(repository, root.relative_to(repository.top.resolve()))


def _from_git(repository: Repository, below: Path) -> Source:
    records = _records(below)
    head = read_head(repository)
    if head is not None:
        repository.check_whole(head.commit)
    changes = {path: letters for path, letters in repository.changes().items() if not _is_record(path, records)}
    index: list[Tracked] = []
    paths: list[str] = []
    notes: list[str] = []
    for entry in repository.index():
        record = _is_record(entry.path, records)
        index.append(Tracked(entry.mode, entry.oid, entry.stage, entry.path, absent=True) if record else entry)
        if entry.mode == SUBMODULE:
            notes += _look_at_submodule(repository, entry)
        if not record and not entry.absent and entry.stage in {0, 2}:
            paths.append(entry.path)
    added = [path for path in repository.untracked() if not _is_record(path, records)]
    notes += [f"{path} is a repository of its own and no submodule: left out" for path in added if path.endswith("/")]
    paths += [path for path in added if not path.endswith("/")]
    notes += _look_for_pointers(repository)
    if (size := repository.packed()) >= _LONG_HISTORY:
        notes.append(f"its history is {readable(size)}, copied into each build (git clone --depth 1 has less)")
    return Source(
        top=repository.top,
        below=below,
        paths=tuple(sorted(paths, key=os.fsencode)),
        head=head,
        repository=repository,
        index=tuple(index),
        changed=frozenset(path for path, letters in changes.items() if letters[1] != " "),
        changes=len(changes) + sum(not path.endswith("/") for path in added),
        notes=tuple(notes),
    )


def _records(below: Path) -> str:
    return str(below / ".hermit") + "/"


def _is_record(path: str, records: str) -> bool:
    """Tell whether a path is of what Hermit writes; a build that was killed may have left something unfinished."""
    name = path.removeprefix(records).partition("/")[0]
    return path.startswith(records) and (name in _RECORDS or (name.startswith(".") and name.endswith("~")))


def _walk(root: Path, records: str, below: str = "") -> Iterator[str]:
    with os.scandir(root / below) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    if below and not entries:
        yield below
    for name, is_folder in entries:
        path = os.path.join(below, name)
        if _is_record(path, records):
            continue
        if is_folder:
            yield from _walk(root, records, path)
        else:
            check_kind(root / path, (root / path).lstat())
            yield path


def check_kind(path: Path, status: os.stat_result) -> None:
    """Raise UsageError for what is neither file nor folder nor link."""
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode) or stat.S_ISDIR(status.st_mode):
        return
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    what = kinds.get(stat.S_IFMT(status.st_mode), "a device")
    raise UsageError(f"{path} is {what}: a source has files, folders and links", hint="remove it or have git ignore it")


def _look_at_submodule(repository: Repository, entry: Tracked) -> Iterator[str]:
    """Say where a submodule is not what a clone would fetch; what it holds is fetched by the build, as in CI."""
    folder = repository.top / entry.path
    if folder.is_symlink() or not (folder / ".git").exists():
        return
    try:
        submodule = Repository.around(folder)
        if submodule is None or submodule.top.resolve() != folder.resolve():
            return
        commit = submodule.line("rev-parse", "--verify", "--quiet", "HEAD")
        if commit != entry.oid:
            yield f"submodule {entry.path}: {commit[:12]} is checked out, the build gets {entry.oid[:12]}"
        if submodule.changes() or submodule.untracked():
            yield f"submodule {entry.path}: has uncommitted changes, which are not built"
    except HermitError as error:
        yield f"submodule {entry.path}: {error}"


def _look_for_pointers(repository: Repository) -> Iterator[str]:
    """Say where git LFS has not fetched contents: the build gets the pointers, which are not what it expects."""
    pointers = [
        path for path in repository.paths("ls-files", "-z", "--", ":(attr:filter=lfs)") if _points(repository, path)
    ]
    if pointers:
        more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
        yield f"{pointers[0]}{more}: a pointer of git LFS, not the content (git lfs pull)"


def _points(repository: Repository, path: str) -> bool:
    try:
        descriptor = os.open(repository.top / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and file.read(len(_POINTER)) == _POINTER

"""Keeps what leaves a build: by digest in the store, and as files in one folder that is never of two builds."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.errors import HermitError, UsageError
from hermit_proxy.snapshot import swap
from hermit_proxy.store.body import Store
from hermit_workers.cell import Taken
from hermit_workers.sandbox.artifacts.taking import ArtifactError, sha256sums

SUMS = "SHA256SUMS"
_IGNORE = ".gitignore"
# What marks a folder as one that a build may empty; git ignores all that is in it.
_MARK = "# Artifacts of hermit build, which empties this folder each time.\n*\n"
_NEW = ".new~"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20
_FILE, _PROGRAM = 0o644, 0o755


@dataclass(frozen=True, slots=True)
class Artifact:
    """Is one file that left a build: its path below the project, its size in bytes and its digest (hex)."""

    path: str
    size: int
    sha256: str
    executable: bool


def check_folder(out: Path) -> None:
    """Raise UsageError where a folder holds what no build has put there: it would be lost."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise UsageError(f"{out} is no folder", hint="--out takes a folder for artifacts alone")
    mark = out / _IGNORE
    marked = mark.is_file() and not mark.is_symlink() and mark.read_bytes() == _MARK.encode()
    if not marked and any(out.iterdir()):
        raise UsageError(f"{out} holds files that no build made", hint="--out takes a new folder, or an empty one")


def keep(taken: Iterable[Taken], store: Store, out: Path, epoch: int) -> tuple[Artifact, ...]:
    """Put files into the store and into `out`, which has them alone then; give them sorted by path.

    Their times are `epoch`, their modes 0644 or 0755. Raise HermitError where they cannot be written; `out` is as it
    was then.
    """
    out = out.resolve()
    check_folder(out)
    waiting = list(taken)
    kept: list[Artifact] = []
    try:
        with _fresh(out) as new:
            while waiting:
                kept.append(_keep_one(waiting.pop(), store, new))
            kept.sort(key=lambda artifact: os.fsencode(artifact.path))
            _write(
                new / SUMS,
                sha256sums((artifact.path, artifact.sha256) for artifact in kept).encode("utf-8", "surrogateescape"),
            )
            _write(new / _IGNORE, _MARK.encode())
            store.flush()
            _set_times(new, epoch)
            _put_in_place(new, out)
    except OSError as error:
        raise HermitError(
            f"cannot write artifacts to {out}: {error.strerror}", hint="free the disk, or --out"
        ) from error
    finally:
        for left in waiting:
            os.close(left.descriptor)
    return tuple(kept)


@contextmanager
def _fresh(out: Path) -> Iterator[Path]:
    """Give a new folder beside `out`, of this build alone: another one of the project may end at the same time.

    A lock on it says that its build is alive; the kernel drops it with the process.
    """
    with swap.locked(out.parent):
        _sweep(out)
        new = out.with_name(f".{out.name}.{secrets.token_hex(4)}{_NEW}")
        new.mkdir(mode=_PROGRAM)
        held = os.open(new, _FOLDER)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)  # in its place by now, or worth nothing
        os.close(held)


def _sweep(out: Path) -> None:
    """Remove what builds left beside `out` that were killed."""
    swap.sweep(out)
    for left in out.parent.glob(f".{glob.escape(out.name)}.*{_NEW}"):
        with contextlib.suppress(OSError):  # no folder: none of ours
            held = os.open(left, _FOLDER)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(held)


def _keep_one(taken: Taken, store: Store, folder: Path) -> Artifact:
    with open(taken.descriptor, "rb") as source:
        if (first := taken.path.parts[0]) in {SUMS, _IGNORE}:
            raise ArtifactError(
                f"an artifact cannot be named {taken.path}: {first} is Hermit's own file beside it", hint="rename it"
            )
        target = folder / taken.path
        target.parent.mkdir(mode=_PROGRAM, parents=True, exist_ok=True)
        with store.writer() as writer, target.open("xb") as file:
            while piece := source.read(_PIECE):
                writer.write(piece)
                file.write(piece)
            body = writer.commit()
            os.fchmod(file.fileno(), _PROGRAM if taken.executable else _FILE)
    return Artifact(str(taken.path), body.size, body.sha256, taken.executable)


def _write(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    path.chmod(_FILE)


def _set_times(folder: Path, epoch: int) -> None:
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            os.utime(os.path.join(parent, name), (epoch, epoch))
        os.chmod(parent, _PROGRAM)
        os.utime(parent, (epoch, epoch))


def _put_in_place(new: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old~")
    with swap.locked(out.parent):
        check_folder(out)
        if out.exists():
            # Of what runs on meanwhile, nobody sees files of two builds; a crash in between is mended by swap.sweep.
            out.rename(old)
        new.rename(out)
        if old.is_dir() and not stat.S_ISLNK(old.lstat().st_mode):
            shutil.rmtree(old)

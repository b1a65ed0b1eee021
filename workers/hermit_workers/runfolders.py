"""Keeps folders of runs: alive while their process is, cleaned up after it, what is worth keeping for a while."""

# Each folder holds everything of one run, in no tmpfs because caches of tools lie there too. The lock says that the
# run is alive: the kernel drops it with the process, however that ends. A folder without its lock is a dead run's, so
# folders are made and looked at under a lock on the folder of them all.

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from pathlib import Path

from hermit_proxy.errors import HermitError
from hermit_workers.locks import alone

MOMENT = "%Y%m%dT%H%M%S"
_LOCK = "lock"
# What a person puts beside the runs, such as a copy of one, is none of ours to read or to sweep.
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9]{6}[0-9a-f]{4}")


class RunFolders:
    """Is a folder with one folder for each run; of those that are over only what is named in `stays` is left."""

    def __init__(self, folder: Path, stays: frozenset[str]) -> None:
        """Take the folder, which need not be there."""
        self.folder = folder
        self._stays = stays | {_LOCK}

    def all(self) -> list[Path]:
        """Give the folders of runs, the oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if _NAME.fullmatch(path.name) and path.is_dir())

    def fresh(self) -> tuple[Path, int]:
        """Make a run's folder in a folder that is there, and give it with its lock: whoever closes that ends the run.

        Raise OSError where it cannot be made.
        """
        now = time.time_ns()
        moment = time.strftime(MOMENT, time.gmtime(now // 10**9))
        name = f"{moment}-{now // 1000 % 10**6:06}{secrets.token_hex(2)}"
        rundir = self.folder / name
        with alone(self.folder):
            rundir.mkdir(mode=0o700)
            lock = os.open(rundir / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return rundir, lock

    def sweep(self, keep: int) -> None:
        """Clean up after runs that were killed, and drop the oldest but for `keep` of what was left.

        It has an event loop of its own where it needs one: call it in a thread where one runs.
        """
        if not self.folder.is_dir():
            return
        with alone(self.folder):
            dead = [rundir for rundir in self.all() if not _alive(rundir)]
        for rundir in dead:
            self.tidy(rundir)
        finished = [rundir for rundir in dead if rundir.exists()]
        for rundir in finished[: max(0, len(finished) - keep)]:
            _remove(rundir)

    def tidy(self, rundir: Path) -> None:
        """Leave what stays, and where there is nothing of it nothing; what the disk refuses the next sweep tries."""
        with contextlib.suppress(OSError):
            self._clean(rundir)
            (rundir / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something stays
            rundir.rmdir()

    def _clean(self, rundir: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(rundir)):
                if entry.name in self._stays:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    _remove(Path(entry.path))
                else:
                    with contextlib.suppress(OSError):  # the others go all the same
                        os.unlink(entry.path)


def _alive(rundir: Path) -> bool:
    try:
        lock = os.open(rundir / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, root's perhaps: not ours to sweep
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _remove(folder: Path) -> None:
    """Remove a tree; tools make folders of their caches read-only (go does), which is no reason to keep them."""
    try:
        shutil.rmtree(folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.chmod(folder, stat.S_IRWXU)
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                if not os.path.islink(os.path.join(parent, name)):  # a link may lead to the user's own folder
                    with contextlib.suppress(OSError):
                        os.chmod(os.path.join(parent, name), stat.S_IRWXU)
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _remove_foreign(folder)


def _remove_foreign(folder: Path) -> None:
    """Remove what a cell left that was killed: its files belong to the mapped users, not to us."""
    import asyncio  # noqa: PLC0415  rarely needed

    from hermit_workers.sandbox.namespaces.mapped import remove_tree  # noqa: PLC0415  rarely needed

    with contextlib.suppress(HermitError):  # it is there the next time as well
        asyncio.run(remove_tree(folder))

"""Keeps the folders of runs: alive while their process is, cleaned up after it, their logs kept for a while."""

# $XDG_STATE_HOME/hermit/runs/<id>/ holds everything of one run, in no tmpfs because caches of tools lie there too. The
# lock says that the run is alive: the kernel drops it with the process, however that ends. A folder without its lock is
# a dead run's, so folders are made and looked at under a lock on the folder of them all.

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hermit_cli.output import say_styled
from hermit_proxy.errors import HermitError, UsageError
from hermit_workers.locks import alone

KEPT_RUNS = 20
LOG_NAME = "requests.jsonl"
RESULT_NAME = "result.json"
STEPS_NAME = "steps.log"
_LOCK = "lock"
_MOMENT = "%Y%m%dT%H%M%S"
# What a person puts beside the runs, such as a copy of one, is none of ours to read or to sweep.
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9]{6}[0-9a-f]{4}")
_STAYS = frozenset({LOG_NAME, RESULT_NAME, STEPS_NAME, _LOCK})


def state_dir(environ: Mapping[str, str]) -> Path:
    """Name the folder of what Hermit remembers between runs (XDG Base Directory)."""
    base = environ.get("XDG_STATE_HOME", "")
    home = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return home / "hermit"


def runs_dir(environ: Mapping[str, str]) -> Path:
    """Name the folder that has one folder for each run."""
    return state_dir(environ) / "runs"


@contextlib.contextmanager
def run_folder(environ: Mapping[str, str]) -> Iterator[Path]:
    """Make a run's folder, hold its lock, and leave only its logs and its result behind."""
    runs = runs_dir(environ)
    try:
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        rundir, lock = _fresh(runs)
    except OSError as error:
        hint = "free the disk or set XDG_STATE_HOME"
        raise HermitError(f"cannot write to {runs}: {error.strerror}", hint=hint) from error
    try:
        yield rundir
    finally:
        try:
            _tidy(rundir)
        finally:
            os.close(lock)


def write_result(rundir: Path, fields: Mapping[str, Any]) -> None:
    """Keep how a run ended beside its log, for the commands that need a log that is worth something.

    Where it cannot be written a warning is said: how the run went is known all the same, and told.
    """
    path = rundir / RESULT_NAME
    try:
        path.write_text(json.dumps(fields) + "\n")
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        told = f"hermit: cannot write {path}: {error.strerror}; later commands do not know how this run ended"
        say_styled(told, "warn")


def check_copy(copy: Path | None) -> None:
    """Raise UsageError before a run where its log could not be copied after it."""
    if copy is not None and (copy.is_dir() or not copy.absolute().parent.is_dir()):
        raise UsageError(f"the log cannot be written to {copy}", hint="--log takes a file in a folder that is there")


def keep_log(rundir: Path, copy: Path | None) -> Path | None:
    """Give the run's log, or the copy of it that was asked for; None where there is none.

    Where it cannot be copied a warning is said, and the log is the one in the run's folder.
    """
    log = rundir / LOG_NAME
    if not log.exists():
        return None
    if copy is None:
        return log
    try:
        shutil.copyfile(log, copy)
    except OSError as error:
        if copy.is_file() and not copy.samefile(log):
            copy.unlink(missing_ok=True)  # a piece of it would be read as a build that asked for less
        say_styled(f"hermit: cannot write the log to {copy}: {error.strerror or error}", "warn")
        return log
    return copy


def sweep(environ: Mapping[str, str], *, keep: int = KEPT_RUNS) -> None:
    """Clean up after runs that were killed, and drop the oldest logs."""
    runs = runs_dir(environ)
    if not runs.is_dir():
        return
    with alone(runs):
        dead = [rundir for rundir in _rundirs(runs) if not _alive(rundir)]
    for rundir in dead:
        _tidy(rundir)
    finished = [rundir for rundir in dead if rundir.exists()]
    for rundir in finished[: max(0, len(finished) - keep)]:
        _remove(rundir)


def find_log(name: str, environ: Mapping[str, str]) -> Path:
    """Give the log that a person means: a file, or the id of a run."""
    if Path(name).is_file() or "/" in name:
        return Path(name)
    runs = runs_dir(environ)
    logs = [log for rundir in _rundirs(runs) if os.path.isfile(log := rundir / LOG_NAME)]
    if (found := runs / name / LOG_NAME) in logs:
        return found
    known = ", ".join(log.parent.name for log in logs[-3:])
    hint = f"one of: {known}" if known else "hermit run -- COMMAND"
    raise UsageError(f"no log of a run {name!r} in {runs}", hint=hint)


def results(environ: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give the log and the result of each run that has both, the last one first."""
    for rundir in reversed(_rundirs(runs_dir(environ))):
        try:
            fields = json.loads((rundir / RESULT_NAME).read_text())
        except (OSError, ValueError):  # of a run that ended badly: it vouches for nothing
            continue
        log = rundir / LOG_NAME
        if isinstance(fields, dict) and log.exists():
            yield log, fields


def began(rundir: Path) -> str:
    """Say when a run began, from the name of its folder: `2026-11-21 13:54 UTC`; else the name, which says more."""
    try:
        moment = time.strptime(rundir.name.partition("-")[0], _MOMENT)
    except ValueError:
        return rundir.name
    return time.strftime("%Y-%m-%d %H:%M UTC", moment)


def _rundirs(runs: Path) -> list[Path]:
    """Give the folders of runs, the oldest first."""
    return sorted(path for path in runs.glob("[0-9]*") if _NAME.fullmatch(path.name) and path.is_dir())


def _fresh(runs: Path) -> tuple[Path, int]:
    now = time.time_ns()
    moment = time.strftime(_MOMENT, time.gmtime(now // 10**9))
    name = f"{moment}-{now // 1000 % 10**6:06}{secrets.token_hex(2)}"
    rundir = runs / name
    with alone(runs):
        rundir.mkdir(mode=0o700)
        lock = os.open(rundir / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return rundir, lock


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


def _tidy(rundir: Path) -> None:
    """Leave the logs and the result, and where there are none nothing; what the disk refuses the next sweep tries."""
    with contextlib.suppress(OSError):
        _clean(rundir)
        (rundir / _LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there are logs
        rundir.rmdir()


def _clean(rundir: Path) -> None:
    """Remove everything but the logs, the result and the lock."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(rundir)):
            if entry.name in _STAYS:
                continue
            if entry.is_dir(follow_symlinks=False):
                _remove(Path(entry.path))
            else:
                with contextlib.suppress(OSError):  # the others go all the same
                    os.unlink(entry.path)


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

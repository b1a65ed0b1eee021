"""Keeps the folders of runs: alive while their process is, cleaned up after it, their logs kept for a while."""

# $XDG_STATE_HOME/hermit/runs/<id>/ holds everything of one run, in no tmpfs because caches of tools lie there too. The
# lock says that the run is alive: the kernel drops it with the process, however that ends. A folder without its lock is
# a dead run's, so folders are made and looked at under a lock on the folder of them all.

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hermit_cli.output import say_styled
from hermit_proxy.errors import HermitError, UsageError
from hermit_workers.runfolders import MOMENT, RunFolders

KEPT_RUNS = 20
LOG_NAME = "requests.jsonl"
RESULT_NAME = "result.json"
STEPS_NAME = "steps.log"
_STAYS = frozenset({LOG_NAME, RESULT_NAME, STEPS_NAME})


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
    folders = RunFolders(runs, _STAYS)
    try:
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        rundir, lock = folders.fresh()
    except OSError as error:
        hint = "free the disk or set XDG_STATE_HOME"
        raise HermitError(f"cannot write to {runs}: {error.strerror}", hint=hint) from error
    try:
        yield rundir
    finally:
        try:
            folders.tidy(rundir)
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
    RunFolders(runs_dir(environ), _STAYS).sweep(keep)


def find_log(name: str, environ: Mapping[str, str]) -> Path:
    """Give the log that a person means: a file, or the id of a run."""
    if Path(name).is_file() or "/" in name:
        return Path(name)
    runs = runs_dir(environ)
    logs = [log for rundir in RunFolders(runs, _STAYS).all() if os.path.isfile(log := rundir / LOG_NAME)]
    if (found := runs / name / LOG_NAME) in logs:
        return found
    known = ", ".join(log.parent.name for log in logs[-3:])
    hint = f"one of: {known}" if known else "hermit run -- COMMAND"
    raise UsageError(f"no log of a run {name!r} in {runs}", hint=hint)


def results(environ: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give the log and the result of each run that has both, the last one first."""
    for rundir in reversed(RunFolders(runs_dir(environ), _STAYS).all()):
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
        moment = time.strptime(rundir.name.partition("-")[0], MOMENT)
    except ValueError:
        return rundir.name
    return time.strftime("%Y-%m-%d %H:%M UTC", moment)

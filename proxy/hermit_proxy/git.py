"""Asks git without letting a repository run anything: its settings are as strange as its files."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from hermit_proxy.errors import HermitError, UsageError

_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false")
# Nothing is fetched, nobody is asked, no lock is waited for.
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


class GitError(HermitError):
    """Is raised where git says no; its words are the message."""


class Leash:
    """Ends what git does with others, who may keep it waiting for ever: after some time, or when somebody pulls.

    States: free -> pulled; whatever is asked from then on ends at once.
    """

    def __init__(self, seconds: float) -> None:
        """Take the time that each command has."""
        self._seconds = seconds
        self._lock = Lock()
        self._running: set[int] = set()
        self._pulled = False

    def pull(self) -> None:
        """End all that runs, with its helpers; from any thread."""
        with self._lock:
            self._pulled = True
            for leader in self._running:
                _kill(leader)

    def run(self, command: list[str], environ: Mapping[str, str], given: bytes) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, which is a kill where it is not there in time or somebody pulls."""
        # A group of its own: git leaves the waiting to a helper, which would stay.
        with subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as running:
            with self._lock:
                self._running.add(running.pid)
                if self._pulled:
                    _kill(running.pid)
            try:
                out, said = running.communicate(given, timeout=self._seconds)
            except subprocess.TimeoutExpired:
                _kill(running.pid)
                out, said = running.communicate()
                said += b"not done after %g s\n" % self._seconds
            finally:
                with self._lock:
                    self._running.discard(running.pid)
        return subprocess.CompletedProcess(command, running.returncode, out, said)


def _kill(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def ask(  # noqa: PLR0913  git has many ways to be told
    folder: Path,
    *arguments: str,
    given: bytes = b"",
    settings: Mapping[str, str] | None = None,
    objects: tuple[Path, Path] | None = None,
    strict: bool = False,
    leash: Leash | None = None,
) -> bytes:
    """Run git in a folder and give what it says; raise GitError with its words where it fails.

    `given` is git's stdin. `settings` stand before those of the repository and its user. `objects` are a folder that
    git writes objects to, and the one that it reads them from as well. `strict` takes a warning for a failure: git
    passes over a broken ref with one, and says that all is well. `leash` is for what asks other machines.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT
    environ |= _as_variables(settings or {})
    if objects is not None:
        written, read = objects
        environ |= {"GIT_OBJECT_DIRECTORY": str(written), "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(read)}
    command = [*_GIT, "-C", str(folder), *arguments]
    try:
        if leash is not None:
            done = leash.run(command, environ, given)
        else:
            done = subprocess.run(command, env=environ, input=given, capture_output=True, check=False)
    except (FileNotFoundError, NotADirectoryError) as error:  # the latter: PATH has a file
        raise HermitError("git is not installed", hint="apt-get install git") from error
    if done.returncode or (strict and done.stderr):
        raise GitError(f"git {arguments[0]} in {folder}: {os.fsdecode(done.stderr).strip()}")
    return done.stdout


def line(folder: Path, *arguments: str) -> str:
    """Give the one line that git says, or nothing where it fails: there is no such thing."""
    try:
        return os.fsdecode(ask(folder, *arguments)).strip()
    except HermitError:
        return ""


def refused(error: GitError, before: str = "", otherwise: str | None = None) -> UsageError:
    """Give the error for a repository that git does not read: git's first line, and the command that it advises."""
    reason, *advice = [part.strip() for part in str(error).splitlines()]
    mend = next((part for part in advice if part.startswith("git config")), otherwise)
    return UsageError(before + reason, hint=mend)


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Give settings as git takes them whatever signs are in their names (git-config(1), GIT_CONFIG_COUNT)."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _quoted(path: Path) -> str:
    """Give a path as git takes it in a list with colons between (git(1), GIT_ALTERNATE_OBJECT_DIRECTORIES)."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

"""Spawns a proxy process, early: it imports what it needs while whoever wants it still finds out what to tell it."""

# Imports little: a command that spawns a proxy does so before it imports the rest. See early.py for the other side.

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ERRORS = "proxy.err"
# By the name of the mode: policy.Mode would have everything imported that decides about requests.
_MODULES = {"record": "hermit_proxy.recorder", "hermetic": "hermit_proxy.replayer"}
# All that a proxy sees of the environment: where the user's things are, and how texts are spelled.
_ENVIRONMENT = (
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "USER",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spawned:
    """Is a proxy process that waits for its first order, and our end of its control socket.

    It ends by itself as soon as our end is closed, however that comes about.
    """

    mode: str
    popen: subprocess.Popen[bytes]
    sock: socket.socket

    def end(self) -> None:
        """End it where it has not ended; ending it twice is safe."""
        self.sock.close()
        if self.popen.returncode is None:
            self.popen.kill()
            self.popen.wait()


def spawn(mode: str, rundir: Path, environ: Mapping[str, str]) -> Spawned:
    """Spawn a proxy of a mode (`record` or `hermetic`) for a run whose folder is there; it is told nothing yet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        return Spawned(mode, _popen(mode, rundir, theirs.fileno(), environ), ours)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


@contextmanager
def spawned(mode: str, rundir: Path, environ: Mapping[str, str]) -> Iterator[Spawned]:
    """Spawn it and see to it that it has gone at the end, whether anybody came to use it or not."""
    proxy = spawn(mode, rundir, environ)
    try:
        yield proxy
    finally:
        proxy.end()


def _popen(mode: str, rundir: Path, control_fd: int, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    kept = {name: environ[name] for name in _ENVIRONMENT if name in environ}
    errors = os.open(rundir / ERRORS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    words = [_MODULES[mode], "--control-fd", str(control_fd), "--run", str(rundir)]
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "hermit_proxy.run.early", *words],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=[control_fd],
            cwd="/",
            env=kept,
            # Ctrl-C is for the command in the foreground; the proxy goes when its supervisor does.
            process_group=0,
        )
    finally:
        os.close(errors)

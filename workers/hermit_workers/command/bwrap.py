"""Says how bubblewrap is called, so that a command keeps the user's files and loses every wire but the proxy's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hermit_workers.hostparts import Bind

# Parts of /run that are files of the system and not sockets of its services (NixOS keeps its programs there).
KEPT_IN_RUN = ("/run/current-system", "/run/booted-system", "/run/opengl-driver", "/run/wrappers")
# What root may read or write there speaks to the kernel of the whole host, whatever the namespace.
HIDDEN_IN_SYS = ("debug", "tracing", "config", "security")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108  POSIX shared memory has its place there


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Is what one command sees.

    `folder` is where it starts; `emptied` folders look empty and take nothing, `blanked` files look empty, `dead`
    sockets refuse connections as if nobody listened; `guarded` are the parts of /proc that are the kernel's, and are
    read-only; `empty_folder` and `empty_file` are what is shown there; `runtime` is the user's runtime folder.
    """

    folder: Path
    empty_folder: Path
    empty_file: Path
    emptied: tuple[Path, ...] = ()
    blanked: tuple[Path, ...] = ()
    dead: tuple[Path, ...] = ()
    binds: tuple[Bind, ...] = ()
    guarded: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    runtime: Path | None = None


def bwrap_arguments(sandbox: Sandbox, *, seccomp_fd: int) -> list[str]:
    """Give bubblewrap's arguments up to the command; the filter program is read from `seccomp_fd`.

    The user namespace is there for root as well: without it root would keep power over the host. Later mounts
    cover earlier ones, so what is brought in comes after what is taken away.
    """
    arguments = ["--unshare-user", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--cap-drop", "ALL", "--die-with-parent", "--seccomp", str(seccomp_fd)]
    arguments += ["--bind", "/", "/", *_both("--bind", _pinned(sandbox))]
    arguments += ["--dev", "/dev", "--perms", "1777", "--tmpfs", _SHARED_MEMORY]
    arguments += ["--proc", "/proc", *_both("--ro-bind", sandbox.guarded)]
    arguments += ["--ro-bind", "/sys", "/sys", "--tmpfs", "/run", "--perms", "1777", "--dir", "/run/lock"]
    if sandbox.runtime is not None:
        arguments += ["--perms", "0700", "--tmpfs", str(sandbox.runtime)]
    for path in sandbox.kept:
        arguments += ["--bind", str(path), str(path)]
    for path in sandbox.emptied:
        arguments += ["--ro-bind", str(sandbox.empty_folder), str(path)]
    for bind in sandbox.binds:
        arguments += ["--bind" if bind.writable else "--ro-bind", str(bind.source), str(bind.target)]
    for path in sandbox.blanked:
        arguments += ["--ro-bind", str(sandbox.empty_file), str(path)]
    for path in sandbox.dead:
        arguments += ["--ro-bind", "/dev/null", str(path)]
    return [*arguments, "--chdir", str(sandbox.folder)]


def _pinned(sandbox: Sandbox) -> list[Path]:
    """Give the folders above what is hidden, outermost first: a mount point cannot be renamed.

    Else a command moves `~/.config` aside and makes another, which the next run would believe.
    """
    hidden = (path for path in (*sandbox.emptied, *sandbox.blanked) if not path.is_relative_to("/sys"))
    return sorted({parent for path in hidden for parent in path.parents[:-1]})


def outside(paths: Iterable[Path], folders: Iterable[Path]) -> tuple[Path, ...]:
    """Give the paths, sorted, that are in none of the folders: what a cell hides as a whole needs no second mount."""
    hidden = tuple(folders)
    return tuple(sorted({path for path in paths if not any(path.is_relative_to(folder) for folder in hidden)}))


def _both(option: str, paths: Iterable[Path]) -> list[str]:
    return [word for path in paths for word in (option, str(path), str(path))]

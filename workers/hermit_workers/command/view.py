"""Gathers what a command of `hermit run` sees: the user's own files, less every way out, plus the proxy's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hermit_proxy.errors import HermitError, UsageError
from hermit_workers.command.bwrap import HIDDEN_IN_SYS, KEPT_IN_RUN, Sandbox, outside
from hermit_workers.command.sockets import named_sockets
from hermit_workers.environment import Wire, cache_folders, cell_environment
from hermit_workers.hostparts import Bind, guarded_proc
from hermit_workers.toolfiles import write_tool_files
from hermit_workers.trust import write_trust


@dataclass(frozen=True, slots=True)
class Trust:
    """Is what the run's CA gives the cell: its certificate, the host's bundle with it (both PEM), a JKS store."""

    certificate: bytes
    bundle: bytes
    java_store: bytes


@dataclass(frozen=True, slots=True)
class Hidden:
    """Is what a cell must not see: Hermit's own folders (made if they are missing) and files with secrets."""

    folders: tuple[Path, ...]
    files: tuple[Path, ...] = ()


def prepare(  # noqa: PLR0913, PLR0917  the parts that a view is made of
    rundir: Path, folder: Path, user: Mapping[str, str], wire: Wire, trust: Trust, hidden: Hidden
) -> tuple[Sandbox, dict[str, str]]:
    """Write a cell's files into `rundir`/cell and give its sandbox and environment; `folder` is where it starts.

    A folder that does not exist yet would be there for the command to make, and to write what later runs
    believe; so they are all made first.
    """
    for path in hidden.folders:
        _make(path)
    taken = tuple(sorted({path.resolve() for path in hidden.folders}))
    folder = folder.resolve()
    if any(folder.is_relative_to(path) for path in taken):
        raise UsageError(f"{folder} is one of Hermit's own folders", hint="run the command from the project's folder")
    cell = rundir / "cell"
    binds = _write_files(cell, user, wire, trust)
    runtime = _runtime_folder(user)
    own_run = (Path("/run"), *([runtime] if runtime else []))
    sockets = named_sockets()
    kept = [Path(path) for path in KEPT_IN_RUN if Path(path).exists()]
    kept += [folder] if any(folder.is_relative_to(path) for path in own_run) else []
    covered = [*taken, *(path for path in own_run if path not in kept)]
    sandbox = Sandbox(
        folder=folder,
        empty_folder=_empty(rundir / "empty"),
        empty_file=_blank(rundir / "blank"),
        emptied=(*taken, *_existing(Path("/sys/kernel") / name for name in HIDDEN_IN_SYS), *_display_sockets()),
        blanked=outside(_files(hidden.files), covered),
        dead=outside(sockets, _less(covered, folder)),
        binds=(Bind(cell, Path(str(wire.root)), writable=True), *binds),
        guarded=guarded_proc(),
        kept=tuple(kept),
        runtime=runtime,
    )
    return sandbox, cell_environment(user, wire, dead=[str(path) for path in sockets])


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = "make it a folder of yours, or name another one"
        raise HermitError(
            f"cannot make {folder}, which the command must not see: {error.strerror}", hint=hint
        ) from error


def _write_files(cell: Path, user: Mapping[str, str], wire: Wire, trust: Trust) -> tuple[Bind, ...]:
    cell.mkdir(mode=0o700)
    (cell / "ca.pem").write_bytes(trust.certificate)
    (cell / "ca.jks").write_bytes(trust.java_store)
    if not wire.keep_caches:
        for name in cache_folders():
            (cell / "cache" / name).mkdir(parents=True)
    return (*write_trust(cell, trust.certificate, trust.bundle), *write_tool_files(cell, user, wire))


def _runtime_folder(user: Mapping[str, str]) -> Path | None:
    """Give the user's runtime folder: it holds the sockets of the session."""
    named = Path(user.get("XDG_RUNTIME_DIR", ""))
    return named.resolve() if named.is_absolute() and named.is_dir() else None


def _less(covered: list[Path], folder: Path) -> list[Path]:
    """Leave out what is shown again: sockets in a working folder under /run have to be blanked one by one."""
    return [path for path in covered if not folder.is_relative_to(path)]


def _display_sockets() -> tuple[Path, ...]:
    folder = Path("/tmp")  # noqa: S108  where X servers have their sockets
    return _existing(folder / name for name in (".X11-unix", ".ICE-unix"))


def _existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.is_dir())


def _files(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path.resolve() for path in paths if path.exists())


def _empty(path: Path) -> Path:
    path.mkdir(mode=0o555)
    return path


def _blank(path: Path) -> Path:
    path.touch(mode=0o444)
    return path

"""Finds the unix sockets that have a name in the file system: each is a wire out of a cell that shares it."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

_COLUMNS = 8
_PRINT_REACHED = 'for path do if [ -S "$path" ]; then printf "%s\\0" "$path"; fi; done'


def parse(text: str) -> Iterator[tuple[int, str]]:
    """Read /proc/net/unix (proc_net_unix(5)): inode number and name of every socket that is bound to a path.

    Sockets that do not listen count as well: datagram sockets take messages without it.
    """
    for line in text.splitlines()[1:]:
        columns = line.split(maxsplit=_COLUMNS - 1)
        if len(columns) == _COLUMNS and not columns[-1].startswith("@"):
            yield int(columns[6]), columns[-1]


def named_sockets(proc: Path = Path("/proc")) -> frozenset[Path]:
    """Give the real path of every named socket that this user can see, whatever network namespace it was bound in.

    A name in the file system is no namespace's: services with a network of their own and containers are reached too.
    """
    found = {inode: name for text in _tables(proc) for inode, name in parse(text)}
    relative = {inode: name for inode, name in found.items() if not name.startswith("/")}
    names = {name for name in found.values() if name.startswith("/")}
    names.update(_resolve(relative) if relative else ())
    paths = frozenset(path for name in names if (path := _socket_at(name)) is not None)
    return _reached(paths) if os.geteuid() == 0 else paths


def _tables(proc: Path) -> set[str]:
    """Read the table of each network namespace once, as far as namespaces can be told apart."""
    texts = {(proc / "net/unix").read_text(errors="surrogateescape")}
    known = {_namespace(proc / "self")} - {None}
    for process in proc.glob("[0-9]*"):
        namespace = _namespace(process)  # another user's process does not say; its table is read all the same
        if namespace is None or namespace not in known:
            known.add(namespace)
            with contextlib.suppress(OSError):  # gone by now
                texts.add((process / "net/unix").read_text(errors="surrogateescape"))
    return texts


def _namespace(process: Path) -> int | None:
    try:
        return (process / "ns/net").stat().st_ino
    except OSError:
        return None


def _resolve(relative: dict[int, str]) -> Iterable[str]:
    """Resolve names that were bound relative to a working folder, by the folders of those who hold the sockets."""
    wanted = {f"socket:[{inode}]": name for inode, name in relative.items()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # not ours, or gone by now
            folder = os.readlink(process / "cwd")
            for held in os.scandir(process / "fd"):
                if (name := wanted.get(os.readlink(held.path))) is not None:
                    yield os.path.join(folder, name)


def _socket_at(name: str) -> Path | None:
    path = Path(os.path.realpath(name))
    try:
        return path if stat.S_ISSOCK(path.stat().st_mode) else None
    except OSError:  # removed, of another mount namespace, or out of this user's and so of the command's reach
        return None


def _reached(paths: frozenset[Path]) -> frozenset[Path]:
    """Give those that root reaches without its capabilities, as the command has to.

    bubblewrap has none outside of its namespace either, so it could not cover one in another user's closed folder.
    """
    if not paths:
        return paths
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"]
    words += ["sh", "-c", _PRINT_REACHED, "sh", *map(str, paths)]
    try:
        done = subprocess.run(words, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # a root that may not give them up has none that matter
        return paths
    return frozenset(Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name)

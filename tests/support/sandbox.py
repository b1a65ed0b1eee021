"""Runs commands in real sandbox cells over a tiny tree of the host's own programs, made once for each machine."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hermit_workers.cell import Command, Ended, Limits, User
from hermit_workers.sandbox.cell import SandboxCell
from hermit_workers.sandbox.namespaces import idmap
from hermit_workers.sandbox.namespaces.mapped import remove_tree, run_mapped

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Every Debian has them: they are essential packages, perl-base among them.
_PROGRAMS = (
    *(
        "bash",
        "cat",
        "chgrp",
        "chmod",
        "chown",
        "cp",
        "date",
        "dd",
        "env",
        "false",
        "find",
        "grep",
        "head",
        "id",
        "kill",
    ),
    *("link", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "nproc", "perl", "readlink", "rm", "rmdir", "sed"),
    *(
        "seq",
        "setpriv",
        "setsid",
        "sh",
        "sleep",
        "sort",
        "stat",
        "stty",
        "su",
        "tar",
        "tee",
        "test",
        "touch",
        "tr",
        "true",
    ),
    *("tty", "uname", "unshare", "wc"),
)
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000::/home/build:/bin/sh\n",
    "etc/group": "root:x:0:\ntty:x:5:\nbuild:x:1000:\n",
    "etc/shadow": "root::19000:0:99999:7:::\nbuild::19000:0:99999:7:::\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}
_FOLDERS = {
    **dict.fromkeys(("dev", "proc", "sys", "run", "var", "var/lib", "etc/pam.d"), (0o755, 0)),
    **dict.fromkeys(("tmp", "var/tmp"), (0o1777, 0)),
    "root": (0o700, 0),
    **dict.fromkeys(("home/build", "build"), (0o755, 1000)),
}
# Read before a test gives itself folders of its own.
_CACHE = Path(os.environ.get("HERMIT_TEST_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@dataclass(frozen=True, slots=True)
class Done:
    """Is how a command in a cell ended."""

    status: int
    output: str
    exceeded: str | None = None


@functools.cache
def image() -> Path:
    """Give the root of the tiny tree; it is made where the machine has none of these programs' versions yet."""
    found = _wanted()
    ids = idmap.find()
    about = [ids, _FOLDERS, _FILES, *((name, path.stat().st_mtime_ns) for name, path in sorted(found.items()))]
    place = _CACHE / "hermit-tests" / f"tree-{hashlib.sha256(repr(about).encode()).hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "root").exists():
            asyncio.run(_make(place, found))
    return place / "root"


async def _make(place: Path, found: dict[str, Path]) -> None:
    await remove_tree(place)
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, (mode, owner) in _FOLDERS.items():
                archive.addfile(_member(name, tarfile.DIRTYPE, mode, owner))
            for name, path in found.items():
                data = path.read_bytes()
                archive.addfile(_member(name, tarfile.REGTYPE, 0o755, 0, len(data)), io.BytesIO(data))
            for name, text in _FILES.items():
                archive.addfile(_member(name, tarfile.REGTYPE, 0o644, 0, len(text)), io.BytesIO(text.encode()))
        packed.seek(0)
        script = 'mkdir "$1" "$1/new" && tar -C "$1/new" -xp --numeric-owner && mv "$1/new" "$1/root" && chmod 755 "$1"'
        assert await run_mapped(["sh", "-c", script, "sh", str(place)], stdin=packed.fileno()) == 0


def _member(name: str, kind: bytes, mode: int, owner: int, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.uid, member.gid, member.size = kind, mode, owner, owner, size
    return member


def _wanted() -> dict[str, Path]:
    """Name the programs, what they are linked with, and perl's modules: place in the tree and file of the host."""
    path = PATH.removeprefix("/usr/local/sbin:/usr/local/bin:")
    programs = {name: Path(place) for name in _PROGRAMS if (place := shutil.which(name, path=path))}
    found = {("bin/" if name == "sh" else "usr/bin/") + name: place.resolve() for name, place in programs.items()}
    found |= {"bin/sleep": programs["sleep"]}
    linked = subprocess.run(["ldd", *map(str, programs.values())], capture_output=True, text=True, check=False).stdout
    for line in linked.splitlines():
        for word in line.split():
            if word.startswith("/") and not word.endswith(":"):
                found[word.lstrip("/")] = Path(word).resolve()
    asked = ["perl", "-e", "print qq($_\n) for @INC"]
    for folder in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split():
        if folder.endswith("perl-base"):
            found |= {str(p).lstrip("/"): p for p in sorted(Path(folder).rglob("*")) if p.is_file()}
    return found


@asynccontextmanager
async def started(
    folder: Path, limits: Limits | None = None, *, tree: Path | None = None
) -> AsyncIterator[SandboxCell]:
    """Give a started cell, and destroy it."""
    root = await asyncio.to_thread(image) if tree is None else tree
    cell = SandboxCell(root, folder, limits or Limits())
    try:
        (await cell.start()).close()
        yield cell
    finally:
        await cell.destroy()


async def sh(
    cell: SandboxCell,
    script: str,
    user: User = "build",
    *,
    folder: str = "/",
    environment: dict[str, str] | None = None,
) -> Done:
    """Run a shell script in a cell; give its output as well."""
    with tempfile.TemporaryFile() as output:
        command = Command(("/bin/sh", "-c", script), {"PATH": PATH, **(environment or {})}, PurePosixPath(folder), user)
        ended: Ended = await asyncio.wait_for(cell.run(command, output=output.fileno()), 60)
        output.seek(0)
        return Done(ended.status, output.read().decode(errors="replace"), ended.exceeded)


def run_in_sandbox(folder: Path, *scripts: str, user: User = "build", limits: Limits | None = None) -> list[Done]:
    """Run scripts one after another in one cell."""

    async def run() -> list[Done]:
        async with started(folder, limits) as cell:
            return [await sh(cell, script, user) for script in scripts]

    return asyncio.run(run())

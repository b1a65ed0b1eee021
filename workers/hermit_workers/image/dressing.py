"""Puts into a tree what a recipe has beside packages: files, and the commands; all by the tree's own, in a cell."""

from __future__ import annotations

import io
import itertools
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from hermit_proxy.errors import ExitCode
from hermit_workers.image.errors import ImageError
from hermit_workers.image.recipe import Recipe, RecipeFile
from hermit_workers.image.running import ROOM, runner
from hermit_workers.sandbox.bwrap import init_options, step_argv, view
from hermit_workers.sandbox.namespaces.mounts import ROOT, SHARED

Progress = Callable[[str], None]

_TOLD = 500
# As sandbox.cell has it for what a build gets. No folder of the tree changes its owner or mode for a file in it.
_UNPACK = (
    *("tar", "--extract", "--file", "-", "--directory", "/", "--numeric-owner", "--same-owner", "--same-permissions"),
    *("--keep-directory-symlink", "--warning=no-timestamp"),
)
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}


class CommandError(ImageError):
    """Is raised where a recipe's command fails: that is the recipe's doing, not the machine's."""

    exit_code = ExitCode.FAILED


async def dress(recipe: Recipe, folder: Path, epoch: int, progress: Progress) -> None:
    """Put the files into the tree `root` of a folder, then run the commands; raise CommandError where one fails."""
    if recipe.files:
        progress(f"putting {len(recipe.files)} of the recipe's files in place")
        await put(recipe.files, folder, epoch)
    for command in recipe.commands:
        progress(f"running {command}")
        await _run(command, folder, epoch, progress)


async def put(files: tuple[RecipeFile, ...], folder: Path, epoch: int) -> None:
    """Unpack files over the tree `root` of a folder by its own tar, in a cell: no link in it leads out.

    Raise ImageError with tar's own words.
    """
    with tempfile.TemporaryFile(dir=folder) as packed:
        archive(files, epoch, packed)
        packed.seek(0)
        async with runner(folder) as running:
            running.holder.listener.close()
            status, said = await running.run(
                bwrap_options(epoch), step_argv(_UNPACK, "root"), lambda _: None, stdin=packed.fileno()
            )
    if status:
        raise ImageError("the recipe's files cannot be put into the tree; its tar said:\n" + _quoted(said))


def archive(files: tuple[RecipeFile, ...], epoch: int, out: IO[bytes]) -> None:
    """Write a tar of the files as they shall be: owned by root, of one time (seconds since the epoch)."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for file in files:
            member = tarfile.TarInfo(str(file.target).lstrip("/"))
            member.size, member.mtime = len(file.content), epoch
            member.mode = 0o755 if file.executable else 0o644
            packed.addfile(member, io.BytesIO(file.content))


def bwrap_options(epoch: int) -> list[str]:
    """Give the options for a program of the tree in the view that a cell has, of which the tree is the root."""
    words = init_options(view(f"{ROOT}/root", SHARED))
    # What is written there is of no image.
    for path in ("/run", "/tmp"):  # noqa: S108  file systems of its own
        words += ["--perms", "1777", "--size", ROOM, "--tmpfs", path]
    words += ["--dir", "/run/lock", "--chdir", "/"]
    for name, value in {**_ENVIRONMENT, "SOURCE_DATE_EPOCH": str(epoch)}.items():
        words += ["--setenv", name, value]
    return words


async def _run(command: str, folder: Path, epoch: int, progress: Progress) -> None:
    """Run one command on the tree itself: a tree that a command has spoilt is thrown away as a whole."""
    argv = step_argv(["/bin/sh", "-euc", f"umask 022\n{command}"], "root")
    async with runner(folder) as running:
        running.holder.listener.close()  # nobody is to wait for a proxy that does not come
        status, said = await running.run(bwrap_options(epoch), argv, _first(progress))
    if status:
        hint = "commands of a recipe run without network: what they need comes by `packages` and `files`"
        raise CommandError(f"the recipe's command `{command}` ended with status {status}:\n{_quoted(said)}", hint=hint)


def _quoted(lines: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)


def _first(progress: Progress) -> Progress:
    """Pass on the first lines of a command; nobody reads millions of them."""
    count = itertools.count()
    return lambda line: progress(f"  {line}") if next(count) < _TOLD else None

"""Puts into a tree what a recipe has beside packages: files, and the commands that run in a cell of their own."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from hermit_proxy.errors import ExitCode
from hermit_workers import seccomp
from hermit_workers.cell import Limits
from hermit_workers.image import tree
from hermit_workers.image.errors import ImageError
from hermit_workers.image.recipe import Recipe, RecipeFile
from hermit_workers.image.running import run_told
from hermit_workers.sandbox.bwrap import PID_NAMESPACE, SECCOMP, STATUS, init_options, step_argv, view
from hermit_workers.sandbox.limits.guard import Guard
from hermit_workers.sandbox.limits.rlimits import rlimits
from hermit_workers.sandbox.namespaces.holder import Holder
from hermit_workers.sandbox.namespaces.mounts import ROOT, SHARED

Progress = Callable[[str], None]

_TOLD = 500
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
        await tree.put(folder, archive(recipe.files, epoch))
    for command in recipe.commands:
        progress(f"running {command}")
        await _run(command, folder, epoch, progress)


def archive(files: tuple[RecipeFile, ...], epoch: int) -> bytes:
    """Give a tar of the files as they shall be: owned by root, of one time (seconds since the epoch)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for file in files:
            member = tarfile.TarInfo(str(file.target).lstrip("/"))
            member.size, member.mtime = len(file.content), epoch
            member.mode = 0o755 if file.executable else 0o644
            packed.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def bwrap_arguments(command: str, epoch: int) -> list[str]:
    """Give the command line that runs a recipe's command as root in the view that a cell has; its tree is the image."""
    words = ["bwrap", *init_options(view(f"{ROOT}/root", SHARED))]
    # What is written there is of no image.
    for path in ("/run", "/tmp"):  # noqa: S108  file systems of its own
        words += ["--perms", "1777", "--tmpfs", path]
    words += ["--dir", "/run/lock", "--chdir", "/"]
    for name, value in {**_ENVIRONMENT, "SOURCE_DATE_EPOCH": str(epoch)}.items():
        words += ["--setenv", name, value]
    return [*words, "--", *step_argv(["/bin/sh", "-euc", f"umask 022\n{command}"], "root")]


async def _run(command: str, folder: Path, epoch: int, progress: Progress) -> None:
    """Run one command on the tree itself: a tree that a command has spoilt is thrown away as a whole."""
    limits = Limits()
    guard = Guard(limits, lambda _: None)  # for its control group alone
    try:
        holder = await Holder.open(tree=folder, limits=rlimits(limits), admit=guard.admit)
        try:
            holder.listener.close()  # nobody is to wait for a proxy that does not come
            status, said = await _told(holder, bwrap_arguments(command, epoch), folder, progress)
        finally:
            await holder.close()
    finally:
        guard.remove()
    if status:
        told = "\n".join(f"  {line}" for line in said)
        hint = "commands of a recipe run without network: what they need comes by `packages` and `files`"
        raise CommandError(f"the recipe's command `{command}` ended with status {status}:\n{told}", hint=hint)


async def _told(holder: Holder, arguments: list[str], folder: Path, progress: Progress) -> tuple[int, list[str]]:
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        with tempfile.TemporaryFile() as program:
            program.write(seccomp.program())
            program.seek(0)
            given = {SECCOMP: program.fileno(), STATUS: nowhere, PID_NAMESPACE: nowhere}
            return await run_told(holder, arguments, _first(progress), folder=folder, descriptors=given)
    finally:
        os.close(nowhere)


def _first(progress: Progress) -> Progress:
    """Pass on the first lines of a command; nobody reads millions of them."""
    count = itertools.count()
    return lambda line: progress(f"  {line}") if next(count) < _TOLD else None

"""Keeps VMs from being promised more memory than the host has: each has a note of what it may come to use."""

# A guest that has just booted uses a tenth of its memory, so what the host has left says nothing of the machines that
# run already. A note is a file that its process keeps locked: the kernel drops the lock with the process.

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hermit_workers.cell import CellError
from hermit_workers.locks import alone
from hermit_workers.sandbox.limits.gauges import available
from hermit_workers.sandbox.limits.rlimits import size
from hermit_workers.vm.bounds import OWN
from hermit_workers.vm.domain import TRANSLATED

# What a machine takes beside its guest's memory.
BESIDE = TRANSLATED + OWN

_INTERVAL = 0.5
_NOTE, _TURN = "room-", "turn"
_QEMU = "qemu-system"
_LESS = "ask for less (limits.memory in the spec)"


@dataclass(frozen=True, slots=True)
class Note:
    """Is the room of one machine: the process that keeps it, and the bytes of its guest's memory."""

    process: int
    memory: int

    @property
    def need(self) -> int:
        """Give all the bytes that the machine may come to use."""
        return self.memory + BESIDE


@contextlib.asynccontextmanager
async def room(
    folder: Path, memory: int, *, most: int | None = None, say: Callable[[str], object] = lambda _line: None
) -> AsyncIterator[None]:
    """Hold room for one machine whose guest has `memory` bytes; raise CellError where there can be none.

    `folder` has the notes of all machines of this user, `most` is what their guests may have together. Where other
    machines have it now, this waits for them and says so; those who wait are served in turn.
    """
    if most is not None and memory > most:
        hint = f"{_LESS}, or allow more (vm.memory in your settings)"
        raise CellError(f"a VM with {size(memory)} is more than the {size(most)} that your VMs may have", hint=hint)
    try:
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        held = await _waited(folder, memory, most, say)
    except OSError as error:
        raise CellError(f"cannot write to {folder}: {error.strerror}", hint="make room") from error
    try:
        yield
    finally:
        _give_back(held)


async def _waited(folder: Path, memory: int, most: int | None, say: Callable[[str], object]) -> TextIO:
    told = False
    # Whoever has the turn keeps it until there is room: a large machine would wait for ever behind small ones.
    with (folder / _TURN).open("w") as turn:
        while True:
            if _locked(turn.fileno()):
                found = await _taken(folder, memory, most)
                if not isinstance(found, str):
                    return found
                if not told:
                    say(found)
            elif not told:
                say("waiting for memory, behind another VM that waits")
            told = True
            await asyncio.sleep(_INTERVAL)


async def _taken(folder: Path, memory: int, most: int | None) -> TextIO | str:
    taking = asyncio.ensure_future(asyncio.to_thread(_thd_take, folder, memory, most))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        await asyncio.wait([taking])
        if not taking.exception() and not isinstance(found := taking.result(), str):
            _give_back(found)
        raise


def _thd_take(folder: Path, memory: int, most: int | None) -> TextIO | str:
    """Give what holds a note where there is room for it, else a sentence that says what is waited for."""
    with alone(folder):
        notes, left = _thd_notes(folder), available()
        if why := judge(memory, most, notes, left - promised(notes)):
            return why
        return _thd_note(folder, Note(os.getpid(), memory))


def judge(memory: int, most: int | None, notes: Iterable[Note], left: int) -> str | None:
    """Say what a machine with `memory` bytes has to wait for, None for nothing; raise CellError for nobody's leaving.

    `left` is what the host has, without what others were promised.
    """
    others = [note.memory for note in notes]
    need = memory + BESIDE
    if need <= left and (most is None or memory + sum(others) <= most):
        return None
    if not others:
        told = f"a VM with {size(memory)}, and {size(BESIDE)} for what runs it, does not fit"
        raise CellError(f"memory: {told}: this machine has {size(max(left, 0))} left", hint=f"{_LESS}, or free some")
    running = "1 VM that runs" if len(others) == 1 else f"{len(others)} VMs that run"
    return f"waiting for memory: this VM needs {size(need)}, and {running} may come to use {size(sum(others))}"


def fitting(memory: int, most: int | None, left: int) -> int:
    """Count the machines with `memory` bytes each that fit at once into what the host has left."""
    return max(0, min(left // (memory + BESIDE), left if most is None else most // memory))


def promised(notes: Iterable[Note]) -> int:
    """Give what machines may yet come to use beyond what they use now, in bytes."""
    needs: dict[int, int] = {}
    for note in notes:
        needs[note.process] = needs.get(note.process, 0) + note.need
    return sum(max(0, need - _used(process)) for process, need in needs.items()) if needs else 0


def _used(process: int) -> int:
    """Give the resident bytes of all QEMUs below a process (proc_pid_stat(5))."""
    parents: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                command, _, rest = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")
                fields = rest.split()
                resident = int(fields[21]) if f"({_QEMU}" in command else 0
                parents[int(name)] = int(fields[1]), resident
    total, level = 0, {process}
    while level:
        level = {one for one, (parent, _) in parents.items() if parent in level}
        total += sum(parents[one][1] for one in level)
    return total * os.sysconf("SC_PAGE_SIZE")


def _thd_notes(folder: Path) -> list[Note]:
    """Read the notes of machines that are; remove those of processes that have gone."""
    found = []
    for path in folder.glob(f"{_NOTE}*"):
        with contextlib.suppress(FileNotFoundError), path.open() as file:  # given back by now
            if _locked(file.fileno()):
                path.unlink()
                continue
            process, memory = file.read().split()
            found.append(Note(int(process), int(memory)))
    return found


def _thd_note(folder: Path, note: Note) -> TextIO:
    made = (folder / f"{_NOTE}{secrets.token_hex(8)}").open("x")
    try:
        fcntl.flock(made.fileno(), fcntl.LOCK_EX)
        made.write(f"{note.process} {note.memory}\n")
        made.flush()
    except BaseException:
        made.close()
        raise
    return made


def _give_back(held: TextIO) -> None:
    Path(held.name).unlink(missing_ok=True)
    held.close()


def _locked(descriptor: int) -> bool:
    """Lock a file at once, or tell that somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

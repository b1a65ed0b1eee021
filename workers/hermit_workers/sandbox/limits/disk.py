"""Counts what a cell has written, from inside of its user namespace, where its folders can be read."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import struct
import time
from collections.abc import Iterable, Iterator

from hermit_workers.sandbox.artifacts.walk import MovedError, Walk
from hermit_workers.sandbox.limits.openfiles import Nameless, nameless

# An empty file costs an inode, and removing it later costs time: so each entry counts as one block at least.
_LEAST = 4096
_SLICE = 256
# Levels that stay open in a walk; no limit of descriptors is below 1024, and no build's tree is that deep (PATH_MAX).
_KEPT = 900
_LOST = 1 << 50
_SHARE = 50  # asleep that many times as long as it worked: 2 % of a core
_PAUSE = 1.0
_TOTAL = struct.Struct("<QQQQQ")


def counted(folder: int) -> Iterator[int]:
    """Walk below an open folder and give the bytes found so far, every few hundred entries and at the end.

    A build changes the tree meanwhile: what goes away is not counted, and where a folder is moved under the walk deeper
    than any that is of use, what else is there is lost and counts as too much.
    """
    total, entries = 0, 0
    several: set[tuple[int, int]] = set()
    walk = Walk(folder, kept=_KEPT)
    try:
        more = True
        while more:
            with contextlib.closing(walk.names()) as names:
                for name in names:
                    status = walk.look(name)
                    if status is None:
                        continue
                    total += _cost(status, several)
                    if stat.S_ISDIR(status.st_mode):
                        walk.enter(name)
                    entries += 1
                    if entries % _SLICE == 0:
                        yield total
            more = _advanced(walk)
    except MovedError:
        total += _LOST
    finally:
        walk.close()
    yield total


def _advanced(walk: Walk) -> bool:
    while True:
        try:
            return walk.advance() is not None
        except OSError:
            continue


def _cost(status: os.stat_result, several: set[tuple[int, int]]) -> int:
    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
        if (status.st_dev, status.st_ino) in several:
            return 0
        several.add((status.st_dev, status.st_ino))
    return max(_LEAST, status.st_blocks * 512)


def report(folder: int, merged: int | None, output: int) -> None:
    """Count again and again, at 2 % of a core, and write each total and how often all was counted to `output`, a pipe.

    Runs in a process of its own that the holder forks (folder: the upper layer; merged: the device of the tree over
    it, or None where Hermit, as root, looks for files without a name itself); returns when the pipe is closed. After
    these two numbers come those of Nameless; all have 8 bytes, little-endian. A total that has passed the last whole
    one is told before the walk is over.
    """
    whole = 0
    hidden = Nameless()
    for walks in itertools.count():
        began = time.process_time()
        total = 0
        for total in counted(folder):
            if total > whole and not _told(output, total, walks, hidden):
                return
            spent = time.process_time() - began
            time.sleep(_SHARE * spent)
            began = time.process_time()
        whole = total
        for found in _nameless(folder, merged):
            hidden = found
            spent = time.process_time() - began
            time.sleep(_SHARE * spent)
            began = time.process_time()
        if not _told(output, total, walks + 1, hidden):
            return
        time.sleep(_PAUSE + _SHARE * (time.process_time() - began))


def _nameless(folder: int, merged: int | None) -> Iterable[Nameless]:
    if merged is None:
        return ()
    return nameless(map(int, filter(str.isdecimal, os.listdir("/proc"))), {os.fstat(folder).st_dev, merged})


def _told(output: int, total: int, walks: int, hidden: Nameless) -> bool:
    try:
        os.write(output, _TOTAL.pack(total, walks, hidden.disk, hidden.memory, hidden.descriptors))
    except BrokenPipeError:
        return False
    return True


class Counter:
    """Is the reading end of `report`'s pipe, in Hermit."""

    def __init__(self, descriptor: int) -> None:
        """Take over the descriptor."""
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._rest = b""
        self._latest = self._walks = 0
        self._hidden = Nameless()

    def latest(self) -> int:
        """Give the last total that came, 0 before the first; never blocks."""
        while self._descriptor is not None:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            data = self._rest + data
            whole = len(data) // _TOTAL.size * _TOTAL.size
            self._rest = data[whole:]
            if whole:
                self._latest, self._walks, *hidden = _TOTAL.unpack_from(data, whole - _TOTAL.size)
                self._hidden = Nameless(*hidden)
        return self._latest

    def walks(self) -> int:
        """Give how often everything had been counted when the last total came."""
        return self._walks

    def hidden(self) -> Nameless:
        """Give the files without a name as they were when the last total came."""
        return self._hidden

    def close(self) -> None:
        """Close the pipe, which ends the counting process; doing it twice is safe."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

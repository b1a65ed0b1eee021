"""Brings committed files to the disk behind the back of the recording, so that no request waits for a disk."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock


class Flusher:
    """Syncs files and their folders in a thread of its own; `wait` ends when all of them are durable.

    A body may be lost in a power failure before that, but never be wrong: whoever reads it hashes it.
    """

    def __init__(self) -> None:
        """Start no thread before there is something to do."""
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[None]] = deque()
        self._folders: set[Path] = set()

    def add(self, path: Path) -> None:
        """Take a file that has just been moved to its place."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "store-flush")
            while self._pending and self._pending[0].done() and not self._pending[0].exception():
                self._pending.popleft()
            self._pending.append(self._pool.submit(_sync, path))
            self._folders.update((path.parent, path.parent.parent))

    def wait(self) -> None:
        """Wait for everything added so far; raise the first OSError that the disk reported."""
        with self._lock:
            pending, self._pending = self._pending, deque()
            folders, self._folders = self._folders, set()
        for future in pending:
            future.result()
        for folder in folders:
            _sync(folder)

    def close(self) -> None:
        """Wait and end the thread; closing twice is safe."""
        try:
            self.wait()
        finally:
            with self._lock:
                pool, self._pool = self._pool, None
            if pool is not None:
                pool.shutdown()


def _sync(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return  # Deleted since: there is nothing to keep.
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

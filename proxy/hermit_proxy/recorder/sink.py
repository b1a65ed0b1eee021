"""Carries a body from the event loop into the store in a thread of its own, at bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from threading import Lock
from typing import TypeVar

from hermit_proxy.store.body import Body, BodyWriter

# Bytes that wait for the thread. Above the first the network is not read, below the second it is read again.
HIGH, LOW = 8 << 20, 2 << 20
# A body up to here stays in memory until it ends: most are smaller, and what is a token must not be stored.
PRELUDE = 64 * 1024

T = TypeVar("T")


class Sink:
    """Is a body on its way into the store.

    States: gathering (up to PRELUDE bytes, nothing written) -> writing -> committed | dropped. All methods belong to
    the event loop's thread but those named `_thd_*`.
    """

    def __init__(self, open_writer: Callable[[], BodyWriter], pool: Executor, *, keep: bool = True) -> None:
        """Take what opens a body in the store, which may block and is called in the pool.

        With `keep=False` nothing ever gets to the store: only a small body is gathered, to be looked at.
        """
        self._open_writer = open_writer
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._keep = keep
        self._gathered: list[bytes] = []
        self._size = 0
        self._spilled = False
        self._queue: deque[bytes] = deque()
        self._lock = Lock()
        self._running = False
        self._backlog = 0
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._writer: BodyWriter | None = None
        self._dropped = False
        self.error: Exception | None = None

    @property
    def gathered(self) -> bytes | None:
        """Give the whole body so far if it is small, else None."""
        return None if self._spilled else b"".join(self._gathered)

    def write(self, chunk: bytes) -> None:
        """Take a chunk; it is copied nowhere."""
        if self._dropped or self.error is not None:
            return
        self._size += len(chunk)
        if self._size <= PRELUDE:
            self._gathered.append(chunk)
            return
        if not self._spilled:
            self._spilled = True
            if not self._keep:
                self.drop()
                return
            for earlier in self._gathered:
                self._enqueue(earlier)
            self._gathered.clear()
        self._enqueue(chunk)

    async def room(self) -> None:
        """Wait until the thread has caught up: who reads the network waits here first."""
        await self._room.wait()

    @property
    def full(self) -> bool:
        """Tell whether `room` would wait."""
        return not self._room.is_set()

    async def commit(self, thd_then: Callable[[Body], T]) -> T:
        """Finish the body, and give what `thd_then` makes of it in the pool; raise what the store or that raised."""
        await self._empty.wait()
        if self.error is not None:
            raise self.error
        self._dropped = True
        # In one go: a thread that comes back to the event loop and is sent out again waits for the interpreter twice.
        return await self._loop.run_in_executor(self._pool, self._thd_commit, b"".join(self._gathered), thd_then)

    def drop(self) -> None:
        """Have nothing of the body kept; after a commit it does nothing."""
        if self._dropped:
            return
        self._dropped = True
        self._gathered.clear()
        self._pool.submit(self._thd_abort)

    def _enqueue(self, chunk: bytes) -> None:
        self._backlog += len(chunk)
        self._empty.clear()
        if self._backlog >= HIGH:
            self._room.clear()
        with self._lock:
            self._queue.append(chunk)
            if self._running:
                return
            self._running = True
        self._pool.submit(self._thd_pump)

    def _written(self, count: int, error: Exception | None) -> None:
        self._backlog -= count
        self.error = self.error or error
        if self._backlog <= LOW:
            self._room.set()
        if not self._backlog:
            self._empty.set()

    def _thd_pump(self) -> None:
        error: Exception | None = None
        while True:
            with self._lock:
                if not self._queue:
                    self._running = False
                    return
                chunks = list(self._queue)
                self._queue.clear()
            try:
                for chunk in chunks:
                    if error is None and not self._dropped:
                        self._thd_writer().write(chunk)
            except Exception as problem:  # noqa: BLE001  whatever the store raises is raised by commit
                error = problem
            self._tell(sum(map(len, chunks)), error)

    def _tell(self, count: int, error: Exception | None) -> None:
        # RuntimeError: the loop has ended with the process, and nobody waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._written, count, error)

    def _thd_writer(self) -> BodyWriter:
        if self._writer is None:
            self._writer = self._open_writer()
        return self._writer

    def _thd_commit(self, rest: bytes, thd_then: Callable[[Body], T]) -> T:
        with self._thd_writer() as writer:
            writer.write(rest)
            return thd_then(writer.commit())

    def _thd_abort(self) -> None:
        # The pump may be at work; it stops at the next chunk, and whoever comes last aborts.
        with self._lock:
            busy = self._running
        if busy:
            self._pool.submit(self._thd_abort)
        elif self._writer is not None:
            self._writer.abort()

"""Writes one body into a store of files: small ones from memory, large ones through an unfinished file."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hermit_proxy.store.body import Body, DigestMismatchError, StoreError, check_digest, storage_error
from hermit_proxy.store.unfinished import Unfinished

if TYPE_CHECKING:
    from hermit_proxy.store.files import FileStore

# What is gathered before it is hashed and written: one call for many small chunks, and small bodies that
# the store holds already touch no disk at all.
GATHER = 1 << 20
# Pieces of that size that may wait for the disk before `write` does.
_WAITING = 4


class FileWriter:
    """Is a BodyWriter. States: open -> committed | aborted; memory is bounded by six times GATHER.

    Large bodies are hashed and written in a thread of their own: neither needs the interpreter's lock, and the
    recorder's event loop is busy with the network meanwhile.
    """

    def __init__(self, store: FileStore) -> None:
        """Take the store that publishes the body; nothing is created yet."""
        self._store = store
        self._hash = hashlib.sha256()
        self._size = 0
        self._gathered: list[bytes] = []
        self._waiting = 0
        self._file: Unfinished | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._pending: deque[Future[None]] = deque()
        self._open = True

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk, which is copied if it is not bytes."""
        if not self._open:
            raise StoreError("this body is finished: nothing can be appended")
        self._gathered.append(bytes(chunk))
        self._waiting += len(self._gathered[-1])
        if self._waiting >= GATHER:
            self._spill(self._take())

    def commit(self, expected: str | None = None) -> Body:
        """Publish the body; an equal one that is there and good stays, and only its time is renewed."""
        if not self._open:
            raise StoreError("this body is finished: it cannot be committed again")
        try:
            rest = self._take()
            if self._file is not None:
                self._spill(rest)
                self._wait(0)
                rest = b""
            else:
                self._count(rest)
            body = Body(self._hash.hexdigest(), self._size)
            if expected is not None and body.sha256 != check_digest(expected):
                raise DigestMismatchError(expected, *body)
            self._store.publish(body, rest, self._file)
        finally:
            self.abort()
        return body

    def abort(self) -> None:
        """Drop what was not committed."""
        self._open = False
        self._gathered.clear()
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        if self._file is not None:
            self._file.drop()

    def __enter__(self) -> Self:
        """Give the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort unless committed."""
        self.abort()

    def _take(self) -> bytes:
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._waiting = 0
        return data

    def _count(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)

    def _spill(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = self._store.unfinished()
        except OSError as error:
            self.abort()
            raise storage_error(error, f"a body in {self._store.where}") from error
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "store-write")
        self._pending.append(self._thread.submit(self._append, self._file, data))
        self._wait(_WAITING)

    def _append(self, file: Unfinished, data: bytes) -> None:
        self._count(data)
        file.write(data)

    def _wait(self, allowed: int) -> None:
        """Wait until at most so many pieces are not written; raise what went wrong with any."""
        try:
            while len(self._pending) > allowed or (self._pending and self._pending[0].done()):
                self._pending.popleft().result()
        except OSError as error:
            self.abort()
            raise storage_error(error, f"a body in {self._store.where}") from error
        except BaseException:
            self.abort()
            raise

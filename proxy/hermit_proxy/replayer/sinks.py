"""Holds the bodies of requests while they come: in memory within a budget, in the store, or nowhere."""

from __future__ import annotations

from typing import Protocol

from hermit_proxy.policy import Refuse
from hermit_proxy.recorder.head import BadHeadError
from hermit_proxy.store.body import BodyWriter

TOO_LARGE = 413


class Sink(Protocol):
    """Takes a body chunk by chunk."""

    def write(self, chunk: memoryview) -> None:
        """Take a chunk; raise BadHeadError with the status to answer when it is too much."""
        ...

    def close(self) -> None:
        """Let go of everything; closing twice is safe."""
        ...


class Budget:
    """Bounds what all connections together hold in memory, or upload."""

    def __init__(self, limit: int, *, status: int = 503, reason: str = "too many large requests at once") -> None:
        """Take the number of bytes, and what a client is told who wants more."""
        self.free = limit
        self._status = status
        self._reason = reason

    def take(self, count: int) -> None:
        """Use a part; raise BadHeadError where there is not so much."""
        if count > self.free:
            raise BadHeadError(self._status, self._reason)
        self.free -= count

    def give(self, count: int) -> None:
        """Give a part back."""
        self.free += count


class MemorySink:
    """Keeps a body, which a request's key needs in one piece (see bodykey)."""

    def __init__(self, budget: Budget, limit: int) -> None:
        """Take the budget of all and the limit (bytes) of one."""
        self._budget = budget
        self._limit = limit
        self.data = bytearray()

    def write(self, chunk: memoryview) -> None:
        """Append within both limits."""
        if len(self.data) + len(chunk) > self._limit:
            raise BadHeadError(TOO_LARGE, f"a body of more than {self._limit} bytes")
        self._budget.take(len(chunk))
        self.data += chunk

    def close(self) -> None:
        """Give the memory back."""
        self._budget.give(len(self.data))
        self.data = bytearray()


class RefusedSink:
    """Reads over the body of a request that is refused whatever it contains."""

    def __init__(self, refusal: Refuse, limit: int) -> None:
        """Take the decision, and how much is worth reading so that the client hears it."""
        self.refusal = refusal
        self._left = limit

    def write(self, chunk: memoryview) -> None:
        """Count."""
        self._left -= len(chunk)
        if self._left < 0:
            raise BadHeadError(TOO_LARGE, f"{self.refusal.reason.value}, and its body does not end")

    def close(self) -> None:
        """Hold nothing, let go of nothing."""


class UploadSink:
    """Writes an upload into the store; nobody sees it before it is committed, which is `commit`'s to do."""

    def __init__(self, writer: BodyWriter, budget: Budget) -> None:
        """Take a writer and what is left for uploads."""
        self._writer = writer
        self._budget = budget
        self._size = 0

    def write(self, chunk: memoryview) -> None:
        """Write within the budget; raise StoreError where the store cannot."""
        self._budget.take(len(chunk))
        self._size += len(chunk)
        self._writer.write(chunk)

    def commit(self, expected: str) -> None:
        """Publish the body if its digest is the expected one; blocks. Raise StoreError else."""
        self._writer.commit(expected)
        self._size = 0  # It stays used.

    def close(self) -> None:
        """Drop what was not committed."""
        self._writer.abort()
        self._budget.give(self._size)
        self._size = 0

"""Shares out the memory that the bodies of parallel requests may take: who gets none waits, and its client with it."""

from __future__ import annotations

import asyncio
from collections import deque

# Bytes for all connections of the process together. It is more than one body may have, so that each gets its turn.
BODIES = 96 << 20
# A body up to here costs nothing: more than a thousand connections have no room for each other's anyway.
SMALL = 64 * 1024


class Budget:
    """Is an amount of memory, in bytes.

    A holder takes all that it may need at once, in the order of asking, and gives back what it turns out not to need:
    nobody who waits holds anything, so all come to an end.
    """

    def __init__(self, limit: int = BODIES) -> None:
        """Take the amount."""
        self._limit = self._free = limit
        self._held: dict[str, int] = {}
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """Give the bytes that nobody holds."""
        return self._free

    def has(self, holder: str, size: int) -> bool:
        """Tell whether `take` would not wait."""
        missing = self._missing(holder, size)
        return missing <= 0 or (not self._queue and missing <= self._free)

    async def take(self, holder: str, size: int) -> None:
        """Have a holder hold at least `size` bytes (or all there are), after a wait where they are not free."""
        missing = self._missing(holder, size)
        if self.has(holder, size):
            self._free -= max(missing, 0)
        else:
            await self._turn(missing)
        self._held[holder] = self._held.get(holder, 0) + max(missing, 0)

    def keep(self, holder: str, size: int) -> None:
        """Have a holder give back what it holds beyond `size` bytes."""
        surplus = self._held.get(holder, 0) - size
        if surplus <= 0:
            return
        self._held[holder] -= surplus
        if not self._held[holder]:
            del self._held[holder]
        self._give(surplus)

    def _missing(self, holder: str, size: int) -> int:
        return min(size, self._limit) - self._held.get(holder, 0)

    async def _turn(self, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (size, turn)
        self._queue.append(waiting)
        try:
            await turn
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
                self._give(0)
            else:
                self._give(size)
            raise

    def _give(self, size: int) -> None:
        self._free += size
        while self._queue and self._queue[0][0] <= self._free:
            taken, turn = self._queue.popleft()
            self._free -= taken
            if not turn.done():
                turn.set_result(None)
            else:
                self._free += taken

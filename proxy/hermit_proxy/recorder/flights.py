"""Has each thing fetched once: who asks for what is on its way waits, and gets what the first one recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.request.key import Request
from hermit_proxy.snapshot.entry import Entry

# Seconds. The first client may read slowly, or on purpose only after the second.
PATIENCE = 30.0

Key = tuple[str, str, str | None, tuple[tuple[str, str], ...]]


class Flights:
    """Knows what this run is recording."""

    def __init__(self, patience: float = PATIENCE) -> None:
        """Take how long (seconds) a request waits for another before it asks upstream itself."""
        self._leaders: dict[Key, asyncio.Future[Entry | None]] = {}
        self._patience = patience

    def lead(self, request: Request, key_url: str) -> Callable[[Exchange], None] | None:
        """Take the lead, and get the function that ends it with what was recorded; None where another has it."""
        key: Key = (request.method, key_url, request.body, request.varying())
        if key in self._leaders:
            return None
        flight: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._leaders[key] = flight

        def land(exchange: Exchange) -> None:
            if self._leaders.get(key) is flight:
                del self._leaders[key]
            if not flight.done():
                flight.set_result(exchange.entry)

        return land

    async def wait(self, request: Request, key_url: str) -> tuple[bool, Entry | None]:
        """Wait for the one that leads; tell whether it ended, and give what may answer in its place."""
        flight = self._leaders.get((request.method, key_url, request.body, request.varying()))
        if flight is None:
            return True, None
        try:
            entry = await asyncio.wait_for(asyncio.shield(flight), self._patience)
        except TimeoutError:
            return False, None
        return True, entry if entry is not None and answers(entry) else None


def answers(entry: Entry) -> bool:
    """Tell whether a recorded answer may answer while recording.

    Challenges and tokens may not: the registry would refuse what a client makes of them.
    """
    return entry.stand_in is None and entry.status not in {401, 403}

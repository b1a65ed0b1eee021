"""Has the large bodies of a snapshot hashed before a build asks for them, so that no client waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from hermit_proxy.replayer.bodies import SMALL
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.body import Store

# A build asks for what was recorded; for more than this (bytes) nobody's disk should be read on a guess.
_MOST = 1 << 30
# Seconds after the start, which belong to the first answers, and how often the time of the work is spent at rest.
_LATER = 0.25
_REST = 3


class Ahead:
    """Is one thread that asks a store to hash bodies. States: made -> started -> stopped."""

    def __init__(self, store: Store, entries: Iterable[Entry]) -> None:
        """Take the store, and the entries whose bodies may be asked for."""
        self._store = store
        self._bodies = chosen(entries)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin soon; starting twice is safe."""
        if self._thread is None and self._bodies:
            self._thread = threading.Thread(target=self._thd_hash, name="ahead", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the body that is being hashed; nobody has to wait for that. Stopping twice is safe."""
        self._stopped.set()

    def _thd_hash(self) -> None:
        rest = _LATER
        for sha256, size in self._bodies:
            if self._stopped.wait(rest):
                return
            begin = time.monotonic()
            self._store.hash_ahead(sha256, size)
            rest = (time.monotonic() - begin) * _REST


def chosen(entries: Iterable[Entry]) -> list[tuple[str, int]]:
    """Give digest and size of bodies that are not hashed at each use, small ones first, up to a bound on their sum."""
    sizes = {(entry.sha256, entry.size) for entry in entries if entry.sha256 and entry.size and entry.size > SMALL}
    found, left = [], _MOST
    for sha256, size in sorted(sizes, key=lambda body: (body[1], body[0])):
        left -= size
        if left < 0:
            break
        found.append((sha256, size))
    return found

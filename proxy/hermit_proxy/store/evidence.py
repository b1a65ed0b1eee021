"""Answers the policy's two questions about an entry from one pool of a store, fast enough to ask at every request."""

from __future__ import annotations

from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.body import Store


class PoolEvidence:
    """Is the policy's Evidence: what was observed in one pool, by how many observers.

    A yes about an observation is remembered, because an observation stays true; a no is asked again, because this
    run may observe the entry. A yes about a body is not remembered: a corrupt one is put aside and fetched again.
    """

    def __init__(self, store: Store, pool: str, required_observers: int = 1) -> None:
        """Take the pool of this repository and how many independent observers an entry needs (at least 1)."""
        if required_observers < 1:
            raise ValueError(f"an entry needs at least one observer, not {required_observers}")
        self._store = store
        self._pool = pool
        self._required = required_observers
        # As bytes: half of what the digits take, for each entry of a snapshot.
        self._seen: set[bytes] = set()

    def observed(self, entry: Entry) -> bool:
        """Tell whether enough observers saw exactly this answer to exactly this request."""
        entry_id = entry.id
        seen = bytes.fromhex(entry_id)
        if seen in self._seen:
            return True
        found = self._store.observations(self._pool, entry_id)
        if len({o.observer for o in found if o.sha256 == entry.sha256}) < self._required:
            return False
        self._seen.add(seen)
        return True

    def has_body(self, entry: Entry) -> bool:
        """Tell whether the store holds the body that an entry names (True where it names none)."""
        return entry.sha256 is None or self._store.has(entry.sha256)

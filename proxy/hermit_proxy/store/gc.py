"""Deletes what no branch and no tag names any more, and nothing that anybody could still be about to name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hermit_proxy.store.body import Store, StoreError
from hermit_proxy.store.named import Named, PoolRepository, SnapshotFolder, SnapshotReader

# Longer than a build takes, and than a branch waits between its recording and its push.
GRACE = 14 * 24 * 3600.0


class PoolUnknownError(StoreError):
    """Is raised when the store serves a pool of which the caller named no repositories; nothing is deleted."""


@dataclass(frozen=True, slots=True)
class GcReport:
    """Is what a collection did, or with `dry_run` would have done; `bytes` are those of the deleted bodies.

    `kept` counts the bodies that stay because a snapshot names them, `young` those that stay for their age;
    `missing` are digests that snapshots name and the store does not hold.
    """

    deleted: int
    bytes: int
    observations: int
    swept: int
    kept: int
    young: int
    missing: frozenset[str]
    dry_run: bool


def gc(
    store: Store,
    repositories: Mapping[str, Sequence[PoolRepository | SnapshotFolder]],
    *,
    grace: float = GRACE,
    dry_run: bool = False,
) -> GcReport:
    """Collect garbage: keep what the snapshots of any pool name, and what was committed within `grace` seconds.

    `repositories` names those of every pool in the store, and snapshots that stand alone; an empty list says that a
    pool names nothing any more.
    Raise PoolUnknownError where one is missing, SnapshotUnreadableError where a snapshot cannot be read: both before
    anything is deleted. Any number of collections may run beside each other and beside writers.
    """
    reader = SnapshotReader()
    _named(store, repositories, reader)  # What cannot be read is told before the store is listed.
    candidates = list(store.bodies())
    observed = [(pool, found) for pool in store.pools() for found in store.observed(pool)]
    # Read again after the listing: a push since then may name what looked forgotten.
    named = _named(store, repositories, reader)
    bodies = Named.union(named.values()).bodies
    unnamed = [body for body in candidates if body.sha256 not in bodies]
    stale = [(pool, found) for pool, found in observed if pool in named and found.entry_id not in named[pool].entries]
    if dry_run:
        deleted = [body for body in unnamed if time.time() - body.time >= grace]
        forgotten = [found for _, found in stale if time.time() - found.time >= grace]
    else:
        # Each deletion reads the age again, as one step that no commit can fall into.
        deleted = [body for body in unnamed if store.delete(body.sha256, older_than=grace)]
        forgotten = [f for pool, f in stale if store.delete_observations(pool, f.entry_id, older_than=grace)]
    return GcReport(
        deleted=len(deleted),
        bytes=sum(body.size for body in deleted),
        observations=len(forgotten),
        swept=store.sweep(older_than=grace, dry_run=dry_run),
        kept=len(candidates) - len(unnamed),
        young=len(unnamed) - len(deleted),
        missing=bodies - {body.sha256 for body in candidates},
        dry_run=dry_run,
    )


def _named(
    store: Store, repositories: Mapping[str, Sequence[PoolRepository | SnapshotFolder]], reader: SnapshotReader
) -> dict[str, Named]:
    if unknown := sorted(set(store.pools()) - set(repositories)):
        raise PoolUnknownError(
            f"the store {store.where} also serves {', '.join(map(repr, unknown))}: what that names is unknown here",
            hint="name the repositories of every pool, or none for a pool that is given up",
        )
    return {pool: Named.union(map(reader.named, found)) for pool, found in repositories.items()}

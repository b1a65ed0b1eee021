"""Turns the log of a successful recording into the project's next snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from hermit_proxy.errors import HermitError
from hermit_proxy.request.git import result_digest
from hermit_proxy.run.events import read_log
from hermit_proxy.snapshot.diff import diff
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.report import SAME, as_json, render
from hermit_proxy.snapshot.tree import write_tree
from hermit_proxy.snapshot.update import updated
from hermit_proxy.snapshot.written import Recorded
from hermit_proxy.store.body import Store, StoreError
from hermit_proxy.store.evidence import PoolEvidence
from hermit_proxy.store.open import open_store

_CHUNK = 1 << 18
_GIT_RESULT = "application/x-git-upload-pack-result"


def write_snapshot(  # noqa: PLR0913  the keywords are settings
    network: Path,
    old: Snapshot,
    log: Path,
    *,
    store_url: str,
    pool: str,
    keep_unused: bool,
    environ: Mapping[str, str],
    timed: bool = True,
    asked: bool = True,
) -> Recorded:
    """Write what the run used and recorded to `network`; `old` is the snapshot that the run began with.

    `timed` is False where the time beside the folder is another snapshot's. A snapshot without entries is its time
    alone; it says that nothing is needed, so where something was `asked` and nothing of it may be kept, the snapshot
    stays as it is. Raise HermitError where it cannot be written.
    """
    store = open_store(store_url, environ=environ)
    try:
        evidence = PoolEvidence(store, pool)
        update = updated(
            old,
            read_log(log),
            keep_unused=keep_unused,
            same_content=lambda one, other: _same_pack(store, one, other),
            observed=evidence.observed,
        )
    finally:
        store.close()
    if asked and not len(update.snapshot):
        same = diff(old, old)
        return Recorded(network, changed=False, difference=as_json(same), text=SAME, conflicts=(), pruned=0)
    try:
        changed = write_tree(network, update.snapshot, time=time.time() if timed else None, base=old)
    except OSError as error:
        raise HermitError(
            f"cannot write {network}: {error.strerror}", hint="see that the disk has room and that you may write there"
        ) from error
    difference = diff(old, update.snapshot)
    return Recorded(
        network=network,
        changed=changed,
        difference=as_json(difference),
        text=render(difference),
        conflicts=tuple(str(conflict) for conflict in update.conflicts),
        pruned=len(update.pruned),
    )


def _same_pack(store: Store, one: Entry, other: Entry) -> bool:
    """Tell whether two answers of git carry the same pack in packets of different size (WIRE.md row 4)."""
    if one.header("content-type") != _GIT_RESULT or one.sha256 is None or other.sha256 is None:
        return False
    try:
        packs = {result_digest(_chunks(store, digest)) for digest in (one.sha256, other.sha256)}
    except StoreError:  # the old body is gone, so nothing says that it was the same
        return False
    return len(packs) == 1 and None not in packs


def _chunks(store: Store, sha256: str) -> Iterator[bytes]:
    with store.open_body(sha256) as body:
        while chunk := body.read(_CHUNK):
            yield chunk

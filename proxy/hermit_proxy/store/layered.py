"""Puts a folder of verified copies in front of a shared store: bodies are served from files, whatever holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from hermit_proxy.store.body import (
    Body,
    BodyCorruptError,
    BodyMissingError,
    BodyWriter,
    StoredBody,
    StoredObservation,
    StoreStats,
)
from hermit_proxy.store.files import FileStore
from hermit_proxy.store.observation import Observation


class Remote(Protocol):
    """Is a store on the network, as a LayeredStore needs it; methods named as Store's do what those do."""

    @property
    def where(self) -> str:
        """Name the server, without a password."""
        ...

    def put(self, sha256: str, size: int, file: BinaryIO) -> None:
        """Store a body from a verified file, or renew its time where it is there already."""
        ...

    def copy(self, sha256: str, writer: BodyWriter) -> None:
        """Copy a body into a writer and commit it under its digest; put it aside and raise if it is wrong."""
        ...

    def has(self, sha256: str) -> bool:
        """Tell whether there is a body of that name."""
        ...

    def check(self, sha256: str) -> None:
        """Read the body and compare it."""
        ...

    def observe(self, pool: str, observation: Observation) -> None:
        """Add an observation."""
        ...

    def observations(self, pool: str, entry_id: str) -> tuple[Observation, ...]:
        """Give what was observed of one entry."""
        ...

    def observed(self, pool: str) -> Iterator[StoredObservation]:
        """List the observed entries of a pool."""
        ...

    def pools(self) -> tuple[str, ...]:
        """Name the pools that hold observations."""
        ...

    def bodies(self) -> Iterator[StoredBody]:
        """List the bodies."""
        ...

    def delete(self, sha256: str, *, older_than: float = 0) -> bool:
        """Delete a body of at least that age."""
        ...

    def delete_observations(self, pool: str, entry_id: str, *, older_than: float = 0) -> bool:
        """Delete observations of at least that age."""
        ...

    def stats(self) -> StoreStats:
        """Count what is there."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


class LayeredStore:
    """Is a Store whose observations are the shared store's, and whose bodies are in both.

    A commit ends when the shared store has the body. Reading asks the local copy first; one that is missing or
    corrupt is fetched again, and verified while it is written.
    """

    def __init__(self, local: FileStore, remote: Remote) -> None:
        """Take the two layers, which this store closes."""
        self._local = local
        self._remote = remote

    @property
    def where(self) -> str:
        """Name both."""
        return f"{self._remote.where} (copies in {self._local.where})"

    def writer(self) -> LayeredWriter:
        """Open a new body."""
        return LayeredWriter(self._local.writer(), self)

    def path(self, sha256: str, size: int | None = None) -> Path:
        """Give the verified local copy, fetched if need be."""
        try:
            return self._local.path(sha256, size)
        except (BodyMissingError, BodyCorruptError):
            self._remote.copy(sha256, self._local.writer())
            return self._local.path(sha256, size)

    def open_body(self, sha256: str, size: int | None = None) -> BinaryIO:
        """Open the verified local copy, fetched if need be."""
        try:
            return self._local.open_body(sha256, size)
        except (BodyMissingError, BodyCorruptError):
            self._remote.copy(sha256, self._local.writer())
            return self._local.open_body(sha256, size)

    def read_at_once(self, sha256: str, size: int) -> bytes | None:
        """Give the local copy if it is in memory."""
        return self._local.read_at_once(sha256, size)

    def hash_ahead(self, sha256: str, size: int) -> None:
        """Hash the local copy, if there is one."""
        self._local.hash_ahead(sha256, size)

    def has(self, sha256: str) -> bool:
        """Tell whether either layer has the body."""
        return self._local.has(sha256) or self._remote.has(sha256)

    def read(self, sha256: str) -> bytes:
        """Give a small body."""
        try:
            return self._local.read(sha256)
        except (BodyMissingError, BodyCorruptError):
            self._remote.copy(sha256, self._local.writer())
            return self._local.read(sha256)

    def check(self, sha256: str) -> None:
        """Hash the local copy, if there is one, and the shared body."""
        local = self._local.has(sha256)
        if local:
            self._local.check(sha256)
        if not local or self._remote.has(sha256):
            self._remote.check(sha256)

    def observe(self, pool: str, observation: Observation) -> None:
        """Add an observation, and give the shared store the body if only this machine has it."""
        sha256 = observation.sha256
        if sha256 is not None and self._local.has(sha256) and not self._remote.has(sha256):
            self.share(sha256)
        self._remote.observe(pool, observation)

    def observations(self, pool: str, entry_id: str) -> tuple[Observation, ...]:
        """Ask the shared store."""
        return self._remote.observations(pool, entry_id)

    def observed(self, pool: str) -> Iterator[StoredObservation]:
        """Ask the shared store."""
        return self._remote.observed(pool)

    def pools(self) -> tuple[str, ...]:
        """Ask the shared store."""
        return self._remote.pools()

    def bodies(self) -> Iterator[StoredBody]:
        """List the shared bodies, then those that only this machine has."""
        shared = set()
        for body in self._remote.bodies():
            shared.add(body.sha256)
            yield body
        yield from (body for body in self._local.bodies() if body.sha256 not in shared)

    def delete(self, sha256: str, *, older_than: float = 0) -> bool:
        """Delete both copies, each by its own age."""
        local = self._local.delete(sha256, older_than=older_than)
        return self._remote.delete(sha256, older_than=older_than) or local

    def delete_observations(self, pool: str, entry_id: str, *, older_than: float = 0) -> bool:
        """Delete the shared observations."""
        return self._remote.delete_observations(pool, entry_id, older_than=older_than)

    def sweep(self, *, older_than: float = 0, dry_run: bool = False) -> int:
        """Sweep the local layer; what is unfinished or put aside in the shared one expires by itself."""
        return self._local.sweep(older_than=older_than, dry_run=dry_run)

    def flush(self) -> None:
        """Do nothing: the shared store is the durable one (see docs/store.md for its settings), the local a copy."""

    def stats(self) -> StoreStats:
        """Count the shared store, with both layers beside."""
        remote, local = self._remote.stats(), self._local.stats()
        return StoreStats(
            self.where, remote.bodies, remote.bytes, remote.pools, remote.quarantined, local.unfinished, (remote, local)
        )

    def close(self) -> None:
        """Close both."""
        try:
            self._local.close()
        finally:
            self._remote.close()

    def share(self, sha256: str) -> None:
        """Give the shared store the local copy."""
        with self._local.open_body(sha256) as file:
            self._remote.put(sha256, os.fstat(file.fileno()).st_size, file)


class LayeredWriter:
    """Is a BodyWriter that writes locally and shares at its commit."""

    def __init__(self, local: BodyWriter, store: LayeredStore) -> None:
        """Take the local writer and the store that shares."""
        self._local = local
        self._store = store

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk."""
        self._local.write(chunk)

    def commit(self, expected: str | None = None) -> Body:
        """Publish the body locally, then in the shared store; raise StoreGoneError if that is away."""
        body = self._local.commit(expected)
        self._store.share(body.sha256)
        return body

    def abort(self) -> None:
        """Drop what was not committed."""
        self._local.abort()

    def __enter__(self) -> Self:
        """Give the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort unless committed."""
        self.abort()

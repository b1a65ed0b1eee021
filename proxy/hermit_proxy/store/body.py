"""What every store can do and how it fails, so that recorder, replayer and commands know no kind of store by name."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol, Self, runtime_checkable

from hermit_proxy.errors import HermitError
from hermit_proxy.store.observation import Observation

_DIGEST = re.compile(r"[0-9a-f]{64}")
# What `read` gives in one piece: manifests, indexes, documents. Everything larger is served from `path` or `open_body`.
READ_LIMIT = 64 << 20


class StoreError(HermitError):
    """Is raised when a store cannot do what it was asked to; its subclasses are what a caller can act on."""


class BodyMissingError(StoreError):
    """Is raised for a body that the store does not hold."""

    def __init__(self, sha256: str, where: str) -> None:
        """Take the digest and the store that was asked."""
        super().__init__(f"the store {where} has no body sha256:{sha256}", hint="hermit store fill")
        self.sha256 = sha256
        self.where = where


class BodyCorruptError(StoreError):
    """Is raised for a stored body that is not what its name says; it has been put aside and is not served."""

    def __init__(self, sha256: str, where: str, found: str) -> None:
        """Take the digest, the file or key that held the body, and what was found there."""
        super().__init__(f"body sha256:{sha256} at {where} is corrupt: {found}", hint="hermit store fill")
        self.sha256 = sha256
        self.where = where


class DigestMismatchError(StoreError):
    """Is raised when what was written is not the body that the writer was told to expect; nothing is kept."""

    def __init__(self, expected: str, sha256: str, size: int) -> None:
        """Take the digest that was announced, and digest and size (bytes) of what came."""
        super().__init__(f"expected body sha256:{expected}, got sha256:{sha256} of {size} bytes")
        self.expected = expected
        self.sha256 = sha256
        self.size = size


class StoreFullError(StoreError):
    """Is raised when there is no room for a body: disk, quota, file size limit or Redis' maxmemory."""


class StoreGoneError(StoreError):
    """Is raised when a store on the network does not answer, at the start or in mid-run."""


class Body(NamedTuple):
    """Is what a commit gives: the SHA-256 (hex) and the size (bytes) of what was written."""

    sha256: str
    size: int


class StoredBody(NamedTuple):
    """Is one line of a store's inventory; `time` is when it was last committed, in seconds since the epoch."""

    sha256: str
    size: int
    time: float


class StoredObservation(NamedTuple):
    """Is one line of a pool's inventory; `time` is when the entry was last observed, in seconds since the epoch."""

    entry_id: str
    time: float


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Is the size of a store: bodies and their bytes, observed entries by pool, bodies put aside, unfinished writes.

    `layers` holds the same for the stores that a layered store is made of; its own numbers are those of the shared one.
    """

    where: str
    bodies: int = 0
    bytes: int = 0
    pools: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    unfinished: int = 0
    layers: tuple[StoreStats, ...] = ()


class BodyWriter(Protocol):
    """Writes one body at bounded memory; nobody sees it before `commit`, and leaving the context drops the rest."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk; raise StoreFullError when there is no room (the writer is then aborted)."""
        ...

    def commit(self, expected: str | None = None) -> Body:
        """Publish the body under its digest, once; raise DigestMismatchError if that is not `expected`."""
        ...

    def abort(self) -> None:
        """Drop what was written; after a commit, or a second time, it does nothing."""
        ...

    def __enter__(self) -> Self:
        """Give the writer itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort unless committed."""
        ...


@runtime_checkable
class Store(Protocol):
    """Is a place for bodies and observations.

    Every method is synchronous, safe to call from any thread and any number of processes, and raises only StoreError
    and its subclasses (ValueError for a digest or pool name that cannot be one). An event loop calls `path`,
    `open_body` and `commit` of large bodies in a thread: they hash or move as many bytes as the body has;
    `read_at_once` is what it may call itself.
    """

    @property
    def where(self) -> str:
        """Name the store for people; never holds a password."""
        ...

    def writer(self) -> BodyWriter:
        """Open a new body."""
        ...

    def path(self, sha256: str, size: int | None = None) -> Path:
        """Give a local file that holds exactly this body, verified (see docs/store.md for when it is hashed again).

        Raise BodyMissingError, or BodyCorruptError after putting the corrupt file aside; StoreError if the
        body is good but has another size than `size`.
        """
        ...

    def open_body(self, sha256: str, size: int | None = None) -> BinaryIO:
        """Open the body for reading; as `path`, but nobody can swap the file between the check and the reading."""
        ...

    def read_at_once(self, sha256: str, size: int) -> bytes | None:
        """Give a small body of exactly `size` bytes, hashed at every call, if nothing has to be waited for.

        None says that a disk or network would have to be, or that something is wrong: `open_body` does or tells it.
        """
        ...

    def hash_ahead(self, sha256: str, size: int) -> None:
        """Hash a body of `size` bytes that this machine has, so that `open_body` need not.

        What is wrong with it `open_body` tells; one of another size is not read.
        """
        ...

    def has(self, sha256: str) -> bool:
        """Tell whether there is a body of that name, unverified and fast."""
        ...

    def read(self, sha256: str) -> bytes:
        """Give a body of at most READ_LIMIT bytes, hashed at every call."""
        ...

    def check(self, sha256: str) -> None:
        """Hash every copy of a body, whatever was verified before; raise as `path`."""
        ...

    def observe(self, pool: str, observation: Observation) -> None:
        """Add an observation; a later one by the same observer replaces the earlier one."""
        ...

    def observations(self, pool: str, entry_id: str) -> tuple[Observation, ...]:
        """Give what was observed of one entry, one by observer; nothing readable is nothing observed."""
        ...

    def observed(self, pool: str) -> Iterator[StoredObservation]:
        """List the observed entries of a pool."""
        ...

    def pools(self) -> tuple[str, ...]:
        """Name the pools that hold observations, sorted."""
        ...

    def bodies(self) -> Iterator[StoredBody]:
        """List the bodies, unverified."""
        ...

    def delete(self, sha256: str, *, older_than: float = 0) -> bool:
        """Delete a body unless it was committed less than `older_than` seconds ago; tell whether one was deleted.

        The age is read and the body deleted as one step that no commit can fall into.
        """
        ...

    def delete_observations(self, pool: str, entry_id: str, *, older_than: float = 0) -> bool:
        """Delete the observations of an entry under the same condition, and tell whether there were any."""
        ...

    def sweep(self, *, older_than: float = 0, dry_run: bool = False) -> int:
        """Remove what killed writers left and what was put aside `older_than` seconds ago; count it."""
        ...

    def flush(self) -> None:
        """Wait until everything committed so far survives a power failure; call it before a snapshot is written."""
        ...

    def stats(self) -> StoreStats:
        """Count what is there."""
        ...

    def close(self) -> None:
        """Flush and let go of connections and threads; closing twice is safe."""
        ...


def check_digest(sha256: str) -> str:
    """Give a digest back if it is one (64 lower-case hex digits, fit for a file name); raise ValueError otherwise."""
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"not a SHA-256 in lower-case hex: {sha256[:80]!r}")
    return sha256


def storage_error(error: OSError, doing: str) -> StoreError:
    """Translate what the system says about a file into what a user can do about it."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StoreFullError(
            f"no room for {doing}: {error.strerror}", hint="hermit store gc, or more room (the setting `store`)"
        )
    return StoreError(f"{doing}: {error.strerror or error}")

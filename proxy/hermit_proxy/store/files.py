"""The store of files: the default, and the verified local copy in front of a shared one."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hermit_proxy.store.aside import Aside
from hermit_proxy.store.body import (
    READ_LIMIT,
    Body,
    BodyCorruptError,
    BodyMissingError,
    StoredBody,
    StoredObservation,
    StoreError,
    StoreStats,
    check_digest,
    storage_error,
)
from hermit_proxy.store.file_pagecache import read_cached
from hermit_proxy.store.file_pools import FilePools
from hermit_proxy.store.file_writer import GATHER, FileWriter
from hermit_proxy.store.flusher import Flusher
from hermit_proxy.store.folders import make_folder, refuse_foreign, refuse_link
from hermit_proxy.store.observation import Observation
from hermit_proxy.store.unfinished import Unfinished, locked, sweep_unfinished
from hermit_proxy.store.verdicts import Verdicts

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileStore:
    """Is a Store in one folder: `bodies/ab/<sha256>`, `pools/`, `tmp/` (unfinished), `aside/` (corrupt), `lock`.

    Commits hold the lock shared while they look and rename; deleting and putting aside hold it alone while they
    look and unlink. So no body is deleted between the moment a writer finds it and the moment it renews its time.
    """

    def __init__(self, root: Path) -> None:
        """Open the folder, made with mode 0700 if it is missing; raise StoreError if others could write to it."""
        self.root = root.absolute()
        self._bodies = self.root / "bodies"
        self._tmp = self.root / "tmp"
        self._aside = Aside(self.root / "aside")
        self._lock = self.root / "lock"
        self._verdicts = Verdicts()
        self._flusher = Flusher()
        with self._translated("opening it"):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_foreign(self.root)
            for name in ("bodies", "tmp", "aside", "pools"):
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        self._pools = FilePools(self.root / "pools", self._tmp, self._flusher)

    @property
    def where(self) -> str:
        """Name the folder."""
        return str(self.root)

    def writer(self) -> FileWriter:
        """Open a new body; nothing is on disk until it is larger than a megabyte or committed."""
        return FileWriter(self)

    def path(self, sha256: str, size: int | None = None) -> Path:
        """Give the verified file; hashed at the first call of this process and whenever the file has changed."""
        os.close(self._verified(sha256, size))
        return self._place(sha256)

    def open_body(self, sha256: str, size: int | None = None) -> BinaryIO:
        """Open the verified file, unbuffered reads left to the caller's sizes."""
        return open(self._verified(sha256, size), "rb")

    def read_at_once(self, sha256: str, size: int) -> bytes | None:
        """Give a body that the page cache holds, hashed from the very bytes that are given."""
        folder = f"{self._bodies}/{check_digest(sha256)[:2]}"  # Path objects would be a tenth of the time.
        data = None if os.path.islink(folder) else read_cached(f"{folder}/{sha256}", size, _READ)
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    def hash_ahead(self, sha256: str, size: int) -> None:
        """Hash the file if this process has not; a wrong one stays where it is, for whoever opens it to be told."""
        self._verdicts.prepare(str(self._place(sha256)), _READ, size)

    def has(self, sha256: str) -> bool:
        """Tell whether a regular file stands in the body's place."""
        try:
            # A text, not a Path: it is asked for each entry of a snapshot when a replay starts.
            return stat.S_ISREG(os.lstat(f"{self._bodies}/{check_digest(sha256)[:2]}/{sha256}").st_mode)
        except OSError:
            return False

    def read(self, sha256: str) -> bytes:
        """Give a small body, hashed from the very bytes that are given."""
        with self._opened(sha256) as fd:
            size = os.fstat(fd).st_size
            if size > READ_LIMIT:
                raise StoreError(f"body sha256:{sha256} has {size} bytes: too many to be read in one piece")
            with open(fd, "rb", closefd=False) as file:
                data = file.read(READ_LIMIT + 1)
            if (found := hashlib.sha256(data).hexdigest()) != sha256:
                raise self._put_aside(sha256, os.fstat(fd), f"its content is sha256:{found}")
            return data

    def check(self, sha256: str) -> None:
        """Hash the file, whatever was verified before."""
        os.close(self._verified(sha256, None, again=True))

    def observe(self, pool: str, observation: Observation) -> None:
        """Add an observation to `pools/<pool>/observations`."""
        with self._translated("an observation"):
            self._pools.observe(pool, observation)

    def observations(self, pool: str, entry_id: str) -> tuple[Observation, ...]:
        """Read an entry's observations."""
        with self._translated("reading an observation"):
            return self._pools.observations(pool, entry_id)

    def observed(self, pool: str) -> Iterator[StoredObservation]:
        """List a pool's entries by the times of their files."""
        with self._translated("listing observations"):
            yield from self._pools.observed(pool)

    def pools(self) -> tuple[str, ...]:
        """Name the pools."""
        with self._translated("listing pools"):
            return self._pools.names()

    def bodies(self) -> Iterator[StoredBody]:
        """List the files that are named like bodies."""
        with self._translated("listing bodies"):
            for shard in sorted(os.listdir(self._bodies)):
                for name in sorted(os.listdir(self._bodies / shard)):
                    try:
                        found = os.lstat(self._place(name))
                    except (ValueError, FileNotFoundError):
                        continue  # Not a body's name, or deleted since the listing.
                    yield StoredBody(name, found.st_size, found.st_mtime)

    def delete(self, sha256: str, *, older_than: float = 0) -> bool:
        """Unlink a body's file if nobody committed it within `older_than` seconds."""
        place = self._place(sha256)
        with self._translated(f"deleting {sha256}"), locked(self._lock):
            try:
                if time.time() - os.lstat(place).st_mtime < older_than:
                    return False
                os.unlink(place)
            except FileNotFoundError:
                return False
            return True

    def delete_observations(self, pool: str, entry_id: str, *, older_than: float = 0) -> bool:
        """Unlink an entry's file in a pool under the same condition."""
        with self._translated("deleting observations"):
            return self._pools.delete(pool, entry_id, older_than)

    def sweep(self, *, older_than: float = 0, dry_run: bool = False) -> int:
        """Remove unfinished files whose writers are gone at once, and corrupt ones after `older_than` seconds."""
        with self._translated("sweeping"):
            count = sweep_unfinished(self._tmp, dry_run=dry_run)
            return count + self._aside.sweep(older_than, dry_run=dry_run)

    def flush(self) -> None:
        """Wait for the disk."""
        with self._translated("flushing"):
            self._flusher.wait()

    def stats(self) -> StoreStats:
        """Count files; takes a stat for each body."""
        sizes = [body.size for body in self.bodies()]
        with self._translated("counting"):
            return StoreStats(
                where=self.where,
                bodies=len(sizes),
                bytes=sum(sizes),
                pools={pool: sum(1 for _ in self._pools.observed(pool)) for pool in self._pools.names()},
                quarantined=len(self._aside),
                unfinished=len(os.listdir(self._tmp)),
            )

    def close(self) -> None:
        """Wait for the disk and end the thread that does so."""
        with self._translated("flushing"):
            self._flusher.close()

    def unfinished(self) -> Unfinished:
        """Make the temporary file of a writer; raises OSError, which the writer translates."""
        return Unfinished(self._tmp)

    def publish(self, body: Body, data: bytes, file: Unfinished | None) -> None:
        """Put a body in its place for a writer: from an unfinished file, or from memory where there is none."""
        place = self._place(body.sha256)
        with self._translated(f"body sha256:{body.sha256}"), locked(self._lock, shared=True):
            make_folder(place.parent)
            if self._renew(body):
                return
            if file is None:
                file = Unfinished(self._tmp, 0o400)
                try:
                    file.write(data)
                except BaseException:
                    file.drop()
                    raise
            try:
                try:
                    file.publish(place, mode=0o400)
                except IsADirectoryError:  # Nothing of ours, and a file cannot replace it.
                    self._aside.take(place)
                    file.publish(place, mode=0o400)
            except BaseException:
                file.drop()
                raise
        self._flusher.add(place)

    def _renew(self, body: Body) -> bool:
        """Renew the time of a body that is there and good; one that is not is replaced by the caller's."""
        try:
            fd = os.open(self._place(body.sha256), _READ)
        except OSError:
            return False
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != body.size:
                return False
            # Hashing a large file takes longer than replacing it by what the writer has at hand.
            known = self._verdicts.digest(fd) if found.st_size <= GATHER else self._verdicts.recall(fd)
            if known != body.sha256:
                return False
            os.utime(fd)
            return True
        finally:
            os.close(fd)

    def _verified(self, sha256: str, size: int | None, *, again: bool = False) -> int:
        with self._opened(sha256) as fd:
            found = self._verdicts.digest(fd, again=again)
            there = os.fstat(fd)
            if found != sha256:
                raise self._put_aside(sha256, there, f"its content is sha256:{found} ({there.st_size} bytes)")
            if size is not None and there.st_size != size:
                raise StoreError(f"body sha256:{sha256} has {there.st_size} bytes, not the {size} that were announced")
            return os.dup(fd)

    @contextmanager
    def _opened(self, sha256: str) -> Iterator[int]:
        place = self._place(sha256)
        with self._translated(f"body sha256:{sha256}"):
            try:
                refuse_link(place.parent)
                before = os.lstat(place)
            except FileNotFoundError:
                raise BodyMissingError(sha256, self.where) from None
            if not stat.S_ISREG(before.st_mode):
                raise self._put_aside(sha256, before, "something other than a file stands in its place")
            try:
                fd = os.open(place, _READ)
            except FileNotFoundError:
                raise BodyMissingError(sha256, self.where) from None
            try:
                yield fd
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                raise self._put_aside(sha256, before, f"the disk cannot read it: {error.strerror}") from error
            finally:
                os.close(fd)

    def _put_aside(self, sha256: str, bad: os.stat_result, found: str) -> BodyCorruptError:
        """Move what was found bad out of the way, unless a writer has already put a good body there."""
        place = self._place(sha256)
        # A store that cannot be written to keeps the file; it is refused at every read all the same.
        with suppress(OSError), locked(self._lock):
            if os.path.samestat(os.lstat(place), bad):
                self._aside.take(place)
        return BodyCorruptError(sha256, str(place), found)

    def _place(self, sha256: str) -> Path:
        return self._bodies / check_digest(sha256)[:2] / sha256

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error, f"store {self.where}: {doing}") from error

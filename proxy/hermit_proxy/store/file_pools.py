"""Observations as files: one for each entry of a pool, one line for each observer."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from hermit_proxy.store.body import StoredObservation, check_digest
from hermit_proxy.store.flusher import Flusher
from hermit_proxy.store.observation import Observation, escape_pool, read_observations
from hermit_proxy.store.unfinished import Unfinished, locked

_ENDING = ".json"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FilePools:
    """Is the `pools` folder of a FileStore: `<pool>/observations/ab/<entry id>.json` and `<pool>/lock`.

    Raises OSError, which FileStore translates, and ValueError for a name that cannot be a pool's.
    """

    def __init__(self, root: Path, tmp: Path, flusher: Flusher) -> None:
        """Take the folders, which exist."""
        self._root = root
        self._tmp = tmp
        self._flusher = flusher
        self._folders: dict[str, str] = {}

    def observe(self, pool: str, observation: Observation) -> None:
        """Add or replace the observer's line; the file is replaced in one step."""
        place = self._place(pool, observation.entry_id)
        try:
            self._observe(pool, observation, place)
        except FileNotFoundError:
            # Nearly always all of them are there, and each look is a turn at the interpreter's lock.
            for made in (self._folder(pool), self._folder(pool) / "observations", place.parent):
                made.mkdir(mode=0o700, exist_ok=True)
            self._observe(pool, observation, place)
        self._flusher.add(place)

    def _observe(self, pool: str, observation: Observation, place: Path) -> None:
        with locked(self._folder(pool) / "lock"):
            known = self.observations(pool, observation.entry_id)
            lines = [o.to_json() for o in known if o.observer != observation.observer]
            file = Unfinished(self._tmp)
            try:
                file.write("".join(f"{line}\n" for line in [*lines, observation.to_json()]).encode())
                file.publish(place, mode=0o600)
            finally:
                file.drop()

    def observations(self, pool: str, entry_id: str) -> tuple[Observation, ...]:
        """Read an entry's file; a symbolic link is not followed and vouches for nothing."""
        # Asked for each entry of a snapshot when a replay starts: texts here, because Path takes as long as the file.
        place = f"{self._observations(pool)}/{check_digest(entry_id)[:2]}/{entry_id}{_ENDING}"
        try:
            fd = os.open(place, _READ)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return ()
            raise  # not to be able to read is not to know: observe() would write the others' lines away
        with open(fd, "rb", buffering=0) as file:
            return read_observations(file.read().splitlines(), entry_id)

    def observed(self, pool: str) -> Iterator[StoredObservation]:
        """List the entries of a pool."""
        folder = self._folder(pool) / "observations"
        for shard in sorted(os.listdir(folder)) if folder.is_dir() else ():
            for name in sorted(os.listdir(folder / shard)):
                entry_id = name.removesuffix(_ENDING)
                try:
                    yield StoredObservation(entry_id, os.lstat(self._place(pool, entry_id)).st_mtime)
                except (ValueError, FileNotFoundError):
                    continue  # Not an entry's name, or deleted since the listing.

    def delete(self, pool: str, entry_id: str, older_than: float) -> bool:
        """Unlink an entry's file unless it was written less than `older_than` seconds ago."""
        place = self._place(pool, entry_id)
        if not place.exists():
            return False
        with locked(self._folder(pool) / "lock"):
            try:
                if time.time() - os.lstat(place).st_mtime < older_than:
                    return False
                os.unlink(place)
            except FileNotFoundError:
                return False
            return True

    def names(self) -> tuple[str, ...]:
        """Name the pools that hold observations."""
        pools = sorted(unquote(name) for name in os.listdir(self._root))
        return tuple(pool for pool in pools if next(self.observed(pool), None) is not None)

    def _folder(self, pool: str) -> Path:
        return self._root / escape_pool(pool)

    def _observations(self, pool: str) -> str:
        folder = self._folders.get(pool)
        if folder is None:
            folder = self._folders[pool] = str(self._folder(pool) / "observations")
        return folder

    def _place(self, pool: str, entry_id: str) -> Path:
        return self._folder(pool) / "observations" / check_digest(entry_id)[:2] / f"{entry_id}{_ENDING}"

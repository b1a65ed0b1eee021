"""Where corrupt bodies go: out of the way of readers and writers, but there for whoever wants to know what happened."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path


class Aside:
    """Is the `aside` folder of a FileStore; raises OSError, which FileStore translates."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which exists and is of the same file system as the bodies."""
        self._folder = folder

    def take(self, place: Path) -> None:
        """Move whatever stands at a body's place here, without following it."""
        os.rename(place, self._folder / f"{place.name}.{secrets.token_hex(4)}")

    def __len__(self) -> int:
        """Count what is here."""
        return len(os.listdir(self._folder))

    def sweep(self, older_than: float, *, dry_run: bool) -> int:
        """Remove what came here at least `older_than` seconds ago, and count it."""
        count = 0
        for path in list(self._folder.iterdir()):
            # ctime: the moment it was moved, whatever time the body claims.
            if time.time() - os.lstat(path).st_ctime < older_than:
                continue
            count += 1
            if dry_run:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return count

"""Walks a folder that a hostile build filled: with few descriptors, however deep it is, and never out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class MovedError(Exception):
    """Is raised where the way back up is not the way that led down."""


class Walk:
    """Goes through folders depth first.

    `here` is the folder that is being looked at. Links are never followed: a name is opened below `here` and nowhere
    else, and `..` has to be the very folder that was left. The first `kept` levels stay open: what is moved there is
    no hindrance to go back.
    """

    def __init__(self, folder: int, *, kept: int = 0) -> None:
        """Take an open folder; its descriptor stays the caller's."""
        self._kept = kept
        self._above: list[int] = []
        self.here = os.open(".", _FOLDER, dir_fd=folder)
        self._waiting: list[list[str]] = [[]]  # folders still to be entered, one list for each level
        self._way: list[tuple[int, int]] = []  # device and inode of the folders above `here`

    def close(self) -> None:
        """Close what is open."""
        for descriptor in (self.here, *self._above):
            os.close(descriptor)

    @property
    def depth(self) -> int:
        """Give how many folders deep `here` is; 0 at the top."""
        return len(self._way)

    def enter(self, name: str) -> None:
        """Have a folder of `here` walked later; the one that was entered last comes first."""
        self._waiting[-1].append(name)

    def names(self) -> Generator[str, None, None]:
        """Give the names in `here`; who does not want them all closes the generator.

        Names that are not UTF-8 hold surrogates, as everywhere in Python.
        """
        with os.scandir(self.here) as found:
            for entry in found:
                yield entry.name

    def advance(self) -> str | None:
        """Go to the next folder that was entered, and give its name; None where there are no more.

        `depth` says how far up that led first. Raises MovedError, and OSError for a folder that cannot be opened, after
        which the next one can be asked for.
        """
        while True:
            while self._waiting[-1]:
                name = self._waiting[-1].pop()
                if self._down(name):
                    return name
            if not self._way:
                return None
            self._up()

    def look(self, name: str) -> os.stat_result | None:
        """Give what a name of `here` is, None where it is nothing."""
        try:
            return os.stat(name, dir_fd=self.here, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _down(self, name: str) -> bool:
        above = os.fstat(self.here)
        try:
            below = os.open(name, _FOLDER, dir_fd=self.here)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # A link since, or closed to us: then so are its files.
            status = self.look(name)
            if status is None or not stat.S_ISDIR(status.st_mode):
                return False
            raise
        if self.depth < self._kept:
            self._above.append(self.here)
        else:
            os.close(self.here)
        self.here = below
        self._way.append((above.st_dev, above.st_ino))
        self._waiting.append([])
        return True

    def _up(self) -> None:
        if self.depth <= self._kept:
            os.close(self.here)
            self.here = self._above.pop()
            self._way.pop()
            self._waiting.pop()
            return
        try:
            above = os.open("..", _FOLDER, dir_fd=self.here)
        except OSError as error:  # removed meanwhile
            raise MovedError from error
        status = os.fstat(above)
        os.close(self.here)
        self.here = above
        if (status.st_dev, status.st_ino) != self._way.pop():
            raise MovedError
        self._waiting.pop()

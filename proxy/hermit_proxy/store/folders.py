"""Looks at a store's folders before they are trusted: nobody else may write to them, and none is a way to elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hermit_proxy.store.body import StoreError


def make_folder(folder: Path) -> None:
    """Have a folder be there, mode 0700 if it is made; raise StoreError for a symbolic link."""
    try:
        refuse_link(folder)
    except FileNotFoundError:
        folder.mkdir(mode=0o700, exist_ok=True)
        refuse_link(folder)


def refuse_link(folder: Path) -> None:
    """Raise StoreError for a symbolic link, FileNotFoundError where nothing is."""
    if stat.S_ISLNK(os.lstat(folder).st_mode):
        raise StoreError(f"a symbolic link stands in place of the store's folder {folder}")


def refuse_foreign(root: Path) -> None:
    """Raise StoreError for a folder that another user owns or may write to."""
    found = os.stat(root)
    if found.st_uid not in {0, os.geteuid()} and os.geteuid():
        raise StoreError(f"the store {root} belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o022:
        raise StoreError(f"other users may write to the store {root}", hint=f"chmod go-w {root}")

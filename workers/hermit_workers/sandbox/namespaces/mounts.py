"""Mounts what a cell's root is, in the holder's own mount namespace, and leaves nothing of it."""

from __future__ import annotations

import errno
import os
from typing import Any

from hermit_workers.sandbox.namespaces import kernel, launch

# Somewhere that every system has and bubblewrap needs nothing of; only the holder's own namespace sees the mount.
_PLACES = ("/mnt", "/srv", "/media", "/home")
PLACE = next((path for path in _PLACES if os.path.isdir(path)), _PLACES[0])
ROOT, SHARED = f"{PLACE}/root", f"{PLACE}/shm"
UPPER = "upper"
_POINTS = ("dev", "proc", "sys")
_QUIET = kernel.MS_NOSUID | kernel.MS_NODEV


class Tree:
    """Is a cell's root and its shared memory as the holder mounts them.

    States: made -> mounted -> cleared; `clear` is reached from everywhere.
    """

    root, shared = ROOT, SHARED

    def __init__(self, folders: list[int]) -> None:
        """Take the image's folder and the layers', or the one that is bound as it is, or none."""
        self._numbers = folders
        self._folders = [f"/proc/self/fd/{folder}" for folder in folders]
        self._keep = False

    @property
    def upper(self) -> str:
        """Give where everything is that the cell wrote."""
        return f"{self._folders[1]}/{UPPER}"

    def mount(self, settings: dict[str, Any]) -> None:
        """Mount as many folders as there are; `shared` is the most bytes of shared memory; raise OSError."""
        if not self._folders:
            return
        os.umask(0)
        kernel.mount("tmpfs", PLACE, "tmpfs", _QUIET, "size=64k,mode=0755")
        for path in (ROOT, SHARED):
            os.mkdir(path, 0o755)
        kernel.mount("tmpfs", SHARED, "tmpfs", _QUIET, f"size={settings['shared']},mode=1777")
        if len(self._folders) == 1:
            kernel.mount(self._folders[0], ROOT, "", kernel.MS_BIND | kernel.MS_REC)
        else:
            self._overlay()
        for path in (f"{ROOT}/{name}" for name in _POINTS):
            if os.path.islink(path):  # bubblewrap would follow it to where the host's files still are
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path.removeprefix(ROOT))
        os.umask(0o022)

    def keep(self) -> None:
        """Leave the upper layer when it ends."""
        self._keep = True

    def _overlay(self) -> None:
        image, layers = self._folders
        self._discard("work")  # of a cell that was kept: it forbids a second mount
        os.mkdir(f"{layers}/work", 0o700)
        if not os.path.isdir(self.upper):
            os.mkdir(self.upper, os.stat(image).st_mode & 0o7777)
        # Without `volatile` the end of the mount writes the whole disk's buffers out: seconds. What a crash of the
        # machine loses would be thrown away then anyway.
        options = f"lowerdir={image},upperdir={self.upper},workdir={layers}/work,userxattr,volatile"
        if os.stat(image).st_dev != os.stat(layers).st_dev:
            # Or files would have devices that neither the root nor the disk has: those without a name would be counted
            # by nobody (limits/openfiles.py), and `--one-file-system` would leave them out.
            options += ",xino=on"
        kernel.mount("overlay", ROOT, "overlay", 0, options)

    def clear(self) -> None:
        """Unmount, and remove what a cell that is not kept leaves."""
        for path in (ROOT, SHARED, PLACE):
            try:
                kernel.unmount(path)
            except OSError:  # was not mounted
                continue
        if len(self._folders) > 1:
            self._discard("work", *([] if self._keep else [UPPER]))

    def _discard(self, *names: str) -> None:
        command = ["rm", "-rf", "--one-file-system", "--", *names]
        os.waitpid(launch.spawn(command, os.environ, {}, folder=self._numbers[1]), 0)

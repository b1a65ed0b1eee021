"""Gives artifacts out of the holder's namespaces: the files' own users can read them there, and hermit cannot."""

from __future__ import annotations

import os
import socket

from hermit_workers.sandbox.artifacts.taking import ArtifactError, take
from hermit_workers.sandbox.namespaces import inside


def report(root: str, folder: str, patterns: list[str], most: int, descriptor: int) -> None:
    """Take what matches below a folder of the cell, and send it to a socket: one message a file, then how it ended.

    The folder's own path is the build's to change, so it is opened link by link, none of them followed.
    """
    with socket.socket(fileno=os.dup(descriptor)) as output:

        def give(path: str, size: int, executable: bool, file: int) -> None:  # noqa: FBT001  taking's own words
            inside.send(output, {"path": path, "size": size, "executable": executable}, [file])

        try:
            take(_open(root, folder), patterns, give, most_bytes=most)
        except ArtifactError as error:
            inside.send(output, {"error": str(error), "hint": error.hint})
        except OSError as error:
            inside.send(output, {"error": f"{folder}: {error.strerror}", "hint": None})
        else:
            inside.send(output, {"done": True})


def _open(root: str, folder: str) -> int:
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for name in folder.strip("/").split("/"):
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        os.close(here)
        here = below
    return here

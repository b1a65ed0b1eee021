"""Is another build: it listens, shares memory and waits, under the names that it was told."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import time


def main(path: str) -> None:
    """Take the task's file, offer everything that it names as the neighbour's, and wait to be ended."""
    with open(path) as file:
        task = json.load(file)
    kept = offered(task)
    print("ready", flush=True)  # noqa: T201  whoever waits for it
    time.sleep(600)
    del kept


def offered(task: dict[str, object]) -> list[socket.socket]:
    """Listen at the neighbour's addresses, and make its shared memory."""
    tcp = socket.create_server(("127.0.0.1", int(str(task["neighbour_tcp"]))))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(str(task["neighbour_abstract"]))
    abstract.listen()
    if ctypes.CDLL(None, use_errno=True).shmget(int(str(task["neighbour_segment"])), 4096, 0o1666) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return [tcp, abstract]

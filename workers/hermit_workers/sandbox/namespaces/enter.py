"""Becomes a program of the host in a user and mount namespace of its own: how Hermit touches a cell's files outside."""

# Started by mapped.py, once per program: it imports nothing but kernel.py.

from __future__ import annotations

import _socket
import os
import sys

from hermit_workers.sandbox.namespaces import kernel

_NOT_FOUND = 127


def main(arguments: list[str]) -> int:
    """Take the number of the inherited socket and the command; become it as the namespace's root."""
    number, parent, *command = arguments
    kernel.die_with(int(parent))
    control = _socket.socket(fileno=int(number))
    kernel.new_user_namespace(control)
    kernel.wait_for_ids(control)
    kernel.become_root()
    kernel.die_with(int(parent))  # a change of user forgets it
    kernel.unshare(kernel.NEW_MOUNTS)
    control.close()
    os.umask(0o022)  # whatever the user's own is: what is made here is for the cells' users to read
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell
    except OSError as error:
        sys.stderr.write(f"hermit: {command[0]}: {error.strerror}\n")
        return _NOT_FOUND

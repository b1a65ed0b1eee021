"""Runs first in a cell: opens its one socket where only the cell can connect, hands it out, becomes the command."""

# Started as `python -I -S entry.py FD -- COMMAND...`, once per cell and in its way: only C modules are imported, and
# nothing of Hermit. The variable LC_CTYPE, which Python may set for itself in the C locale, is put back.

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out; signal itself imports enum
import _socket
import os
import sys

ADDRESS = ("127.0.0.1", 3128)
_BACKLOG = 4096
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def hand_out(control: _socket.socket) -> bool:
    """Send the listening socket and wait for the go-ahead; False where the other side is gone."""
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.bind(ADDRESS)
    listener.listen(_BACKLOG)
    number = listener.fileno().to_bytes(4, sys.byteorder)
    try:
        control.sendmsg([b"L"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, number)])
        listener.close()
        return control.recv(1) == b"G"
    except OSError:
        return False


def become(command: list[str]) -> int:
    """Replace this process by the command, as a shell would start it; give a shell's status where that fails."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    try:
        os.execvp(command[0], command)  # noqa: S606  the user's own command, without a shell
    except FileNotFoundError:
        sys.stderr.write(f"hermit: {command[0]}: command not found\n")
        return _NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"hermit: {command[0]}: {error.strerror}\n")
        return _NOT_EXECUTABLE


def main(arguments: list[str]) -> int:
    """Take the number of the inherited socket, the locale variable to keep (or nothing), `--` and the command."""
    number, locale, _, *command = arguments
    if locale:
        os.environ["LC_CTYPE"] = locale
    else:
        os.environ.pop("LC_CTYPE", None)
    control = _socket.socket(fileno=int(number))
    os.set_inheritable(int(number), False)
    if not hand_out(control):
        return 1
    return become(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

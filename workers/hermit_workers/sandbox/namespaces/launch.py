"""Starts programs from the holder: with the descriptors that were given and nothing else of the holder's."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed leaves it out; signal itself imports enum
import fcntl
import os
import resource
import sys
import termios
from collections.abc import Mapping

KEYS = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGHUP)
_ABOVE = 200  # no descriptor that a program is given has such a number
_NOT_FOUND = 127
# Descriptors that were sent and not received yet are counted for each user id of the host, and the roots of all cells
# are one: who is beyond its own limit of open files can send no more. So the holder's is higher than a build's.
_HOLDERS = 1024
_only_programs: dict[int, tuple[int, int]] = {}


def limit(numbers: dict[str, list[int]], *, first_to_die: int) -> None:
    """Limit this process and all that it starts: soft and hard number of each resource; never raises a hard one.

    Open files are limited for what `spawn` starts, and this process has some more. `first_to_die` is its
    oom_score_adj, proc_pid_oom_score_adj(5).
    """
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(first_to_die))
    for kind, (soft, hard) in numbers.items():
        _, most = resource.getrlimit(int(kind))
        highest = _lower(hard, most)
        lowest = _lower(soft, highest)
        if int(kind) == resource.RLIMIT_NOFILE:
            _only_programs[resource.RLIMIT_NOFILE] = (lowest, max(lowest, highest - _HOLDERS))
            lowest = highest
        resource.setrlimit(int(kind), (lowest, highest))


def _lower(one: int, other: int) -> int:
    if resource.RLIM_INFINITY in (one, other):
        return other if one == resource.RLIM_INFINITY else one
    return min(one, other)


def spawn(
    argv: list[str],
    environment: Mapping[str, str],
    descriptors: dict[int, int],
    *,
    terminal: bool = False,
    folder: int | None = None,
) -> int:
    """Start a program that is found by this process's PATH, in the open `folder` where one is given.

    `descriptors` are its numbers and this process's. With `terminal` its descriptor 0 becomes its controlling terminal,
    and it ignores that terminal's keys until what it starts says otherwise: they are for the command in the cell, not
    for bubblewrap around it.
    """
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        os.umask(0o022)
        held = {target: fcntl.fcntl(own, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for target, own in descriptors.items()}
        for target, own in held.items():
            os.dup2(own, target, inheritable=True)
        if folder is not None:
            os.fchdir(folder)
        lowest = 3
        for number in (*sorted(held), _ABOVE):  # closed by exec anyway, but a slip would be a wire into the cell
            if lowest < number:  # Python 3.11 takes an empty range for an endless one
                os.closerange(lowest, number)
            lowest = max(lowest, number + 1)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        _be_a_program(terminal=terminal)
        os.execvpe(argv[0], argv, environment)  # noqa: S606  no shell
    except OSError as error:
        sys.stderr.write(f"hermit: {argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
    finally:
        os._exit(_NOT_FOUND)


def _be_a_program(*, terminal: bool) -> None:
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        _signal.signal(number, _signal.SIG_DFL)
    for number in KEYS:
        _signal.signal(number, _signal.SIG_IGN if terminal else _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    for kind, numbers in _only_programs.items():
        resource.setrlimit(kind, numbers)

"""Says how the process that holds a cell's namespaces ended: without that, nobody finds out who ended it."""

from __future__ import annotations

import signal

from hermit_workers.cell import CellError

CLOSED = "the cell was taken away meanwhile"
_SIGNALLED = 128


def gone(status: int | None) -> CellError:
    """Give the error for who waits for it; `status` as in `how`."""
    hint = "dmesg says whether the kernel had no memory left" if _signal(status) == signal.SIGKILL else None
    return CellError(f"the process that holds the cell's namespaces has gone ({how(status)})", hint=hint)


def how(status: int | None) -> str:
    """Say it in words.

    `status` is its keeper's: negative for the signal that ended the keeper itself, 128 + n for one that ended the
    holder, None where the keeper has not ended yet.
    """
    number = _signal(status)
    if status is None:
        return "it is still being cleaned up after it"
    if number is None:
        return f"it ended with {status}, and says above why" if status else "it ended by itself"
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal between the two that have names
        name = f"signal {number}"
    return f"its keeper was killed by {name}" if status < 0 else f"killed by {name}"


def _signal(status: int | None) -> int | None:
    if status is None or 0 <= status <= _SIGNALLED:
        return None
    return -status if status < 0 else status - _SIGNALLED

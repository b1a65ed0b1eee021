"""Reads a Range header that asks for one part (RFC 9110 section 14.2); everything else is answered with the whole."""

from __future__ import annotations

import re

from hermit_proxy.recorder.tee import Window

# White space as the replayer takes it (replayer/conditions.py): both modes give a client the same part.
_ONE_RANGE = re.compile(r"bytes\s*=\s*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))", re.IGNORECASE)


def window_of(header: str | None, size: int) -> Window | None:
    """Give the part of a body of `size` bytes; None where the whole is the answer, unsatisfiable ranges included."""
    found = _ONE_RANGE.fullmatch(header.strip()) if header is not None else None
    if found is None:
        return None
    if found[3] is not None:
        count = min(int(found[3]), size)
        return Window(size - count, size) if count else None
    start = int(found[1])
    end = min(int(found[2]) + 1 if found[2] is not None else size, size)
    return Window(start, end) if start < end else None

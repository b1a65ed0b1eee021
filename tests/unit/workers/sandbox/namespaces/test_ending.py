"""Puts a keeper's status into words, every kind of it."""

from __future__ import annotations

import pytest

from hermit_workers.sandbox.namespaces import ending


@pytest.mark.parametrize(
    ("status", "said", "memory"),
    [
        (0, "it ended by itself", False),
        (1, "it ended with 1, and says above why", False),
        (137, "killed by SIGKILL", True),
        (139, "killed by SIGSEGV", False),
        (128 + 40, "killed by signal 40", False),
        (-9, "its keeper was killed by SIGKILL", True),
        (-15, "its keeper was killed by SIGTERM", False),
        (None, "it is still being cleaned up after it", False),
    ],
)
def test_a_status_is_told_in_words(status: int | None, said: str, memory: bool) -> None:
    error = ending.gone(status)
    assert str(error) == f"the process that holds the cell's namespaces has gone ({said})"
    assert ("memory" in (error.hint or "")) is memory

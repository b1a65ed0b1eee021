"""Takes away what was made, step by step: what fails keeps nothing else from being done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


async def leave_all(*steps: Callable[[], Awaitable[None]]) -> None:
    """Do every step, one after the other, and raise the first error at the end."""
    first: BaseException | None = None
    for leave in steps:
        try:
            await leave()
        except BaseException as error:  # noqa: BLE001  a cancelled task leaves nothing either
            first = first or error
    if first is not None:
        raise first

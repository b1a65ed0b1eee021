"""Calls the recorder's addons one behind the other, as mitmproxy's layers report what happens."""

from __future__ import annotations

import inspect

from mitmproxy import hooks


class Chain:
    """Is the addons, in the order of their decisions.

    mitmproxy's own manager logs what an addon raises and calls the next one; here it is the caller's to judge.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._addons: list[object] = []

    def add(self, *addons: object) -> None:
        """Put addons behind those that are there."""
        self._addons.extend(addons)

    async def call(self, hook: hooks.Hook) -> None:
        """Have each addon that has a method of the hook's name run it, and raise what the first failing one raises."""
        for addon in tuple(self._addons):
            method = getattr(addon, hook.name, None)
            if method is not None:
                result = method(*hook.args())
                if inspect.isawaitable(result):
                    await result

"""Calls the recorder's addons one behind the other, as mitmproxy's layers report what happens."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence

from mitmproxy import hooks


class Chain:
    """Is the addons, in the order of their decisions.

    mitmproxy's own manager logs what an addon raises and calls the next one; here it is the caller's to judge.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._addons: list[object] = []
        self._methods: dict[str, tuple[Callable[..., object], ...]] = {}

    def add(self, *addons: object) -> None:
        """Put addons behind those that are there."""
        self._addons.extend(addons)
        self._methods.clear()

    async def call(self, hook: hooks.Hook) -> None:
        """Have each addon that has a method of the hook's name run it, and raise what the first failing one raises."""
        rest = self.start(hook)
        if rest is not None:
            await rest

    def start(self, hook: hooks.Hook) -> Awaitable[None] | None:
        """Do the same up to the first that has to be waited for; give the rest, None where there is none."""
        methods = self._methods.get(hook.name)
        if methods is None:
            found = (getattr(addon, hook.name, None) for addon in self._addons)
            methods = self._methods[hook.name] = tuple(method for method in found if method is not None)
        arguments = hook.args() if methods else ()
        for position, method in enumerate(methods):
            result = method(*arguments)
            if result is not None and inspect.isawaitable(result):
                return _go_on(result, methods[position + 1 :], arguments)
        return None


async def _go_on(
    begun: Awaitable[object], methods: Sequence[Callable[..., object]], arguments: Sequence[object]
) -> None:
    await begun
    for method in methods:
        result = method(*arguments)
        if result is not None and inspect.isawaitable(result):
            await result

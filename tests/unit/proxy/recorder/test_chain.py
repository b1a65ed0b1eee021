"""Addons are called in order, plain or async, and the first that fails ends it."""

from __future__ import annotations

import asyncio

import pytest
from mitmproxy.proxy import layers
from mitmproxy.test import tflow

from hermit_proxy.recorder.chain import Chain

HOOK = layers.http.HttpRequestHook(tflow.tflow())


class Addon:
    def __init__(self, called: list[str], name: str) -> None:
        self._called, self._name = called, name

    def request(self, _flow: object) -> None:
        self._called.append(self._name)


class Awaited(Addon):
    async def request(self, flow: object) -> None:  # type: ignore[override]  # addons may be either
        await asyncio.sleep(0)
        super().request(flow)


class Failing:
    def request(self, _flow: object) -> None:
        raise ZeroDivisionError


class Deaf:
    def response(self, _flow: object) -> None:
        raise AssertionError


def test_all_are_called_in_their_order_and_awaited() -> None:
    called: list[str] = []
    chain = Chain()
    chain.add(Awaited(called, "1"), Deaf())
    chain.add(Addon(called, "2"), Awaited(called, "3"))
    asyncio.run(chain.call(HOOK))
    assert called == ["1", "2", "3"]


def test_what_one_raises_is_raised_and_the_next_is_not_asked() -> None:
    called: list[str] = []
    chain = Chain()
    chain.add(Addon(called, "1"), Failing(), Addon(called, "2"))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(chain.call(HOOK))
    assert called == ["1"]


@pytest.mark.parametrize(("waits", "at_once"), [(False, ["1", "2", "3"]), (True, ["1"])])
def test_all_before_the_first_that_waits_are_called_at_once_and_the_rest_later(waits: bool, at_once: list[str]) -> None:
    called: list[str] = []
    chain = Chain()
    chain.add(Addon(called, "1"), Awaited(called, "2") if waits else Addon(called, "2"), Addon(called, "3"))

    async def scenario() -> None:
        rest = chain.start(HOOK)
        assert called == at_once
        assert (rest is not None) == waits
        if rest is not None:
            await rest

    asyncio.run(scenario())
    assert called == ["1", "2", "3"]


def test_an_addon_that_comes_later_is_called_as_well() -> None:
    called: list[str] = []
    chain = Chain()
    chain.add(Addon(called, "1"))
    asyncio.run(chain.call(HOOK))
    chain.add(Addon(called, "2"))
    asyncio.run(chain.call(HOOK))
    assert called == ["1", "1", "2"]

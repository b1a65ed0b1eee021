"""A burst of dials asks the resolver once, and nothing that failed is remembered."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from hermit_proxy.recorder.lookups import Lookups, resolve
from hermit_proxy.upstream.guard import Address

LOCAL = ipaddress.ip_address("127.0.0.1")


class Resolver:
    """Answers when it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.error: OSError | None = None

    async def __call__(self, _host: str, _port: int) -> list[Address]:
        self.asked += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return [LOCAL]


def test_those_who_want_a_name_in_the_same_moment_share_one_question() -> None:
    async def scenario() -> int:
        resolver = Resolver()
        made = Lookups(resolver)
        waiting = [asyncio.ensure_future(made.addresses("a.example.org", 443, seconds=5)) for _ in range(50)]
        await asyncio.sleep(0)
        resolver.go.set()
        assert await asyncio.gather(*waiting) == [[LOCAL]] * 50
        return resolver.asked

    assert asyncio.run(scenario()) == 1


def test_who_comes_later_asks_again() -> None:
    async def scenario() -> int:
        resolver = Resolver()
        resolver.go.set()
        made = Lookups(resolver)
        for _ in range(2):
            await made.addresses("a.example.org", 443, seconds=5)
            await asyncio.sleep(0)
        return resolver.asked

    assert asyncio.run(scenario()) == 2


def test_a_failure_is_not_remembered() -> None:
    async def scenario() -> int:
        resolver = Resolver()
        resolver.error = OSError(1, "no such name")
        resolver.go.set()
        made = Lookups(resolver)
        with pytest.raises(OSError, match="no such name"):
            await made.addresses("a.example.org", 443, seconds=5)
        resolver.error = None
        assert await made.addresses("a.example.org", 443, seconds=5) == [LOCAL]
        return resolver.asked

    assert asyncio.run(scenario()) == 2


def test_a_resolver_that_hangs_is_given_up_and_asked_anew() -> None:
    async def scenario() -> int:
        resolver = Resolver()
        made = Lookups(resolver)
        with pytest.raises(TimeoutError):
            await made.addresses("a.example.org", 443, seconds=0.01)
        resolver.go.set()
        assert await made.addresses("a.example.org", 443, seconds=5) == [LOCAL]
        return resolver.asked

    assert asyncio.run(scenario()) == 2


def test_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    async def scenario() -> list[Address]:
        resolver = Resolver()
        made = Lookups(resolver)
        one = asyncio.ensure_future(made.addresses("a.example.org", 443, seconds=5))
        other = asyncio.ensure_future(made.addresses("a.example.org", 443, seconds=5))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.sleep(0)
        resolver.go.set()
        return await other

    assert asyncio.run(scenario()) == [LOCAL]


def test_a_literal_address_is_not_resolved() -> None:
    assert asyncio.run(resolve("127.0.0.1", 80)) == [LOCAL]

"""A budget is shared in the order of asking, and whoever waits for it holds nothing."""

from __future__ import annotations

import asyncio

import pytest

from hermit_proxy.recorder.budget import BODIES, Budget


async def turn() -> None:
    """Let whoever can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_takes_what_is_free_and_no_more_than_there_is() -> None:
    async def scenario() -> list[int]:
        budget = Budget(10)
        await budget.take("a", 4)
        left = [budget.free]
        await budget.take("a", 3)
        left.append(budget.free)
        budget.keep("a", 0)
        await budget.take("b", 1000)
        return [*left, budget.free]

    assert asyncio.run(scenario()) == [6, 6, 0]


def test_who_finds_too_little_waits_until_it_is_given_back() -> None:
    async def scenario() -> list[bool]:
        budget = Budget(10)
        await budget.take("a", 8)
        assert not budget.has("b", 5)
        waiting = asyncio.create_task(budget.take("b", 5))
        await turn()
        done = [waiting.done()]
        budget.keep("a", 6)
        await turn()
        done.append(waiting.done())
        budget.keep("a", 5)
        await turn()
        assert budget.free == 0
        return [*done, waiting.done()]

    assert asyncio.run(scenario()) == [False, False, True]


def test_a_small_one_does_not_overtake_a_large_one_that_waits() -> None:
    async def scenario() -> list[str]:
        budget, order = Budget(10), list[str]()

        async def one(name: str, size: int) -> None:
            await budget.take(name, size)
            order.append(name)

        await one("first", 6)
        tasks = [asyncio.create_task(one("large", 9)), asyncio.create_task(one("small", 1))]
        await turn()
        assert order == ["first"]
        budget.keep("first", 0)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scenario()) == ["first", "large", "small"]


@pytest.mark.parametrize("granted", [False, True], ids=["while waiting", "when its turn has just come"])
def test_who_goes_away_leaves_its_share_to_the_next(granted: bool) -> None:
    async def scenario() -> int:
        budget = Budget(10)
        await budget.take("a", 10)
        leaving, staying = asyncio.create_task(budget.take("b", 7)), asyncio.create_task(budget.take("c", 6))
        await turn()
        if granted:
            budget.keep("a", 0)
            leaving.cancel()
        else:
            leaving.cancel()
            await turn()
            budget.keep("a", 0)
        await staying
        assert leaving.cancelled()
        budget.keep("c", 0)
        return budget.free

    assert asyncio.run(scenario()) == 10


def test_giving_back_what_is_not_held_changes_nothing() -> None:
    budget = Budget()
    budget.keep("nobody", 0)
    assert budget.free == BODIES

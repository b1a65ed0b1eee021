"""Is one round of the replay benchmark: the loads that one contender gets, and what it answered and cost."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import client
import contenders
import load
import measure
from bodies import SMALL, Bodies

CONNECTIONS = 64
_BUILD = 8  # connections of a build that fetches, as npm or curl -Z has them


@dataclass(frozen=True)
class Lengths:
    """Says how long the loads last: seconds of those at 64 connections, fresh connections, whether curl asks again."""

    seconds: float
    fresh: int
    often: bool


@dataclass(frozen=True)
class Round:
    """Is what one contender did in one round.

    `start` counts the seconds from spawning it to its first answer, None for what ran already. `processor` are the
    processor seconds that it used itself in `closed`, `processor_first` in `first`, `processor_large` in `large`.
    Memory is in MB (10^6 bytes): `resident` the most so far, `proportional` (PSS) at the end. `others` is the share of
    the machine's processor time that neither it nor the clients used while they ran, some hundredths when it is quiet.
    `waited` are the seconds of `offered` in which it was ready to run and another process had its core.
    """

    start: float | None
    first: client.Answers
    again: client.Answers
    curl: load.Load
    closed: client.Answers
    processor: float
    processor_first: float
    rate: float
    offered: client.Answers
    fresh: client.Answers
    resumed: client.Answers
    large: load.Load
    processor_large: float
    resident: float
    proportional: float
    others: float
    waited: float | None = None  # Older results have none.


def parsed(told: dict[str, Any]) -> Round:
    """Give a round as JSON has it, from `dataclasses.asdict`."""
    answers = {
        name: client.Answers(**told[name]) for name in ("first", "again", "closed", "offered", "fresh", "resumed")
    }
    return Round(**told | answers | {name: load.Load(**told[name]) for name in ("curl", "large")})


def one(contender: contenders.Contender, asks: client.Client, bodies: Bodies, lengths: Lengths, rate: float) -> Round:
    """Put each load on one contender; `rate` is what is offered a second, 0 for half of what it has just answered."""
    asks.closed(contender, connections=1, requests=1)
    start = time.perf_counter() - contender.begun if contender.begun else None
    begin, quiet = time.perf_counter(), _used_by_others(contender)
    before = contenders.busy(contender.process)
    first = asks.closed(contender, connections=_BUILD, requests=SMALL)
    processor_first = contenders.busy(contender.process) - before
    again = asks.closed(contender, connections=_BUILD, seconds=lengths.seconds)
    curl = bodies.small(contender, again=lengths.often)
    before = contenders.busy(contender.process)
    closed = asks.closed(contender, connections=CONNECTIONS, seconds=lengths.seconds)
    processor = contenders.busy(contender.process) - before
    rate = rate or round(closed.rate / 2, -2)
    waited = contenders.waited(contender.process)
    offered = asks.offered(contender, connections=CONNECTIONS, seconds=lengths.seconds, rate=rate)
    waited = contenders.waited(contender.process) - waited
    fresh = asks.fresh(contender, resume=False, requests=lengths.fresh, seconds=lengths.seconds)
    resumed = asks.fresh(contender, resume=True, requests=lengths.fresh, seconds=lengths.seconds)
    before = contenders.busy(contender.process)
    large = bodies.large_ones(contender)
    processor_large = contenders.busy(contender.process) - before
    others = (_used_by_others(contender) - quiet) / (time.perf_counter() - begin) / (os.cpu_count() or 1)
    return Round(
        start,
        first,
        again,
        curl,
        closed,
        processor,
        processor_first,
        rate,
        offered,
        fresh,
        resumed,
        large,
        processor_large,
        contenders.resident(contender.process),
        contenders.proportional(contender.process),
        others,
        waited,
    )


def _used_by_others(contender: contenders.Contender) -> float:
    """Give the processor seconds of this machine without those of a contender, of the clients and of this process."""
    own = os.times()
    spent = own.user + own.system + own.children_user + own.children_system
    return measure.processor_seconds() - spent - contenders.busy(contender.process)

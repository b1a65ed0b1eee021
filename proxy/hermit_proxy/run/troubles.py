"""Folds the requests of a run that were not answered into kinds: what people are told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hermit_proxy.run.events import Outcome, RequestEvent


@dataclass(frozen=True, slots=True)
class Trouble:
    """Is a kind of request that was not answered, and how often."""

    outcome: Outcome
    method: str
    url: str
    reason: str
    hint: str | None
    broken: bool
    times: int


def troubles_of(events: Iterable[RequestEvent]) -> tuple[Trouble, ...]:
    """Fold refused and failed requests into kinds; those that break hermeticity come first."""
    kinds: Counter[Trouble] = Counter()
    for event in events:
        if event.outcome in {Outcome.REFUSED, Outcome.FAILED}:
            reason = event.reason or "no reason was logged"
            kinds[Trouble(event.outcome, event.method, event.url, reason, event.hint, event.broken, 0)] += 1
    found = [Trouble(t.outcome, t.method, t.url, t.reason, t.hint, t.broken, n) for t, n in kinds.items()]
    return tuple(sorted(found, key=lambda trouble: (not trouble.broken, trouble.outcome is not Outcome.FAILED)))

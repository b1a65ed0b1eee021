"""Folds requests into kinds."""

from __future__ import annotations

from hermit_proxy.run.events import Outcome, RequestEvent
from hermit_proxy.run.troubles import troubles_of


def event(reason: str, *, broken: bool = True, url: str = "https://example.org/a") -> RequestEvent:
    return RequestEvent(0, "GET", url, Outcome.REFUSED, 403, reason=reason, hint="a rule", broken=broken)


def test_refusals_of_one_kind_are_told_once_and_the_broken_ones_first() -> None:
    events = [event("a rule rejects it", broken=False, url="https://example.org/b"), *[event("no rule admits it")] * 3]
    assert [(t.url, t.times, t.broken) for t in troubles_of(events)] == [
        ("https://example.org/a", 3, True),
        ("https://example.org/b", 1, False),
    ]

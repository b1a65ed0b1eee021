"""Tells people what was not answered."""

from __future__ import annotations

from hermit_proxy.run.events import Outcome
from hermit_proxy.run.troubles import Trouble
from hermit_steps.buildbot.ending import _told


def test_a_request_that_was_refused_is_told_with_the_reason_and_every_line_of_what_mends_it() -> None:
    trouble = Trouble(Outcome.REFUSED, "GET", "https://example.org/a", "no rule admits it", "rules:\n- a", True, 3)
    assert _told(trouble).splitlines() == [
        "refused: GET https://example.org/a (3 times)",
        "  no rule admits it",
        "  rules:",
        "  - a",
    ]

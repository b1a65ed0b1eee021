"""Tells what an old rules file loses: patterns of the first Hermit that matched only because they were not anchored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hermit_proxy.request.target import Target
from hermit_proxy.rules.file import Rule, Rules
from hermit_proxy.rules.pattern import unanchored_v1_match


@dataclass(frozen=True, slots=True)
class Lost:
    """Is a request that the first Hermit gave to `rule`, and that now meets `now` (None: no rule, refused)."""

    target: Target
    rule: Rule
    now: Rule | None

    def __str__(self) -> str:
        """Say it to the author of the rules."""
        now = f"line {self.now.line} ({self.now.pattern.text})" if self.now else "no rule"
        old = f"line {self.rule.line}: {self.rule.pattern.text}"
        return f"{old} matched {self.target.url} in the first Hermit only because it was not anchored; now {now} does"


def lost_matches(rules: Rules, targets: Iterable[Target]) -> list[Lost]:
    """Compare, for what a snapshot has, the first Hermit's reading of the patterns with today's; one for each rule."""
    lost: dict[int, Lost] = {}
    for target in targets:
        now = rules.match("GET", target)
        host_path = target.authority + target.path
        before = next((rule for rule in rules.rules if unanchored_v1_match(rule.pattern.text, host_path)), None)
        if before is not None and before is not now and before.line not in lost:
            lost[before.line] = Lost(target, before, now)
    return [lost[line] for line in sorted(lost)]

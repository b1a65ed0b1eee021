"""Finds rules that can never be the first to match, as far as the shape of the patterns shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hermit_proxy.rules.file import Rule, Rules

_ALL = ".*"
_QUANTIFIERS = ("*", "+", "?", "{")


@dataclass(frozen=True, slots=True)
class Shadowed:
    """Is a rule with the earlier one that matches everything that it does."""

    rule: Rule
    by: Rule

    def __str__(self) -> str:
        """Say it to the author of the rules."""
        return f"{self.rule.pattern.text} never matches: line {self.by.line} ({self.by.pattern.text}) comes first"


def shadowed(rules: Rules) -> Iterator[Shadowed]:
    """Give each rule that an earlier one hides.

    Only equal patterns and those that go on where an earlier one has `.*` are compared, so every answer is right
    and some are missing: whether one expression covers another is costly to decide in general.
    """
    for index, rule in enumerate(rules.rules):
        by = next((earlier for earlier in rules.rules[:index] if hides(earlier, rule)), None)
        if by is not None:
            yield Shadowed(rule, by)


def hides(earlier: Rule, later: Rule) -> bool:
    """Tell whether every request that `later` is about is one of `earlier` as well."""
    methods = earlier.methods is None or (later.methods is not None and later.methods <= earlier.methods)
    scheme = earlier.scheme is None or earlier.scheme == later.scheme
    return methods and scheme and _covers(earlier.pattern.text.removeprefix("^"), later.pattern.text.removeprefix("^"))


def _covers(wide: str, narrow: str) -> bool:
    if wide == narrow:
        return True
    stem = wide.removesuffix(_ALL)
    # The host ends at the first slash and `.*` in it means less; an escaped dot is no wildcard.
    if stem == wide or "/" not in stem or (len(stem) - len(stem.rstrip("\\"))) % 2:
        return False
    rest = narrow.removeprefix(stem)
    # What follows a common beginning may still take its last character back: `a*` behind `a`.
    return rest != narrow and not rest.startswith(_QUANTIFIERS)

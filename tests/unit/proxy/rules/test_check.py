"""`rules check` names what the first Hermit admitted only because its patterns were not anchored."""

from __future__ import annotations

from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.check import lost_matches
from hermit_proxy.rules.file import Action, Rule, Rules
from hermit_proxy.rules.pattern import compile_pattern

RULES = Rules(
    [
        Rule(compile_pattern("example.org/ads"), Action.REJECT, line=2),
        Rule(compile_pattern("example.org/pool/.*"), Action.ALLOW, line=4),
        Rule(compile_pattern("example.org/a.*"), Action.ALLOW, line=6),
    ]
)


def test_a_pattern_that_matched_in_the_middle_is_named_with_what_matches_now() -> None:
    (lost,) = lost_matches(RULES, [parse_url("https://example.org/ads/banner"), parse_url("https://example.org/adsx")])
    assert (lost.rule.line, lost.now and lost.now.line) == (2, 6)
    assert str(lost) == (
        "line 2: example.org/ads matched https://example.org/ads/banner in the first Hermit only because it was not "
        "anchored; now line 6 (example.org/a.*) does"
    )


def test_a_neighbouring_host_is_named() -> None:
    (lost,) = lost_matches(RULES, [parse_url("https://www-example.org/pool/x")])
    assert (lost.rule.line, lost.now) == (4, None)
    assert "now no rule does" in str(lost)


def test_patterns_that_match_the_whole_are_not_named() -> None:
    assert lost_matches(RULES, [parse_url("http://example.org/pool/x"), parse_url("http://example.net/")]) == []

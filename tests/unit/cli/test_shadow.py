"""A rule behind one that matches all of its requests is told; one that still can match never is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermit_cli.shadow import shadowed
from hermit_proxy.request.target import parse_url
from hermit_proxy.rules.file import Action, Rule, Rules, load_rules
from hermit_proxy.rules.pattern import compile_pattern


def rules(tmp_path: Path, *items: str) -> Rules:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n" + "".join(f"  - {{{item}}}\n" for item in items))
    return load_rules(path)


ALLOW = "action: ALLOW"


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        ("pattern: 'a.org/.*'", "pattern: 'a.org/.*'", True),
        ("pattern: 'a.org/.*'", "pattern: 'a.org/x/y'", True),
        ("pattern: 'a.org/x.*'", "pattern: 'a.org/xy/.*'", True),
        ("pattern: '^a.org/.*'", "pattern: 'a.org/x'", True),
        ("pattern: 'a.org/x'", "pattern: 'a.org/.*'", False),
        ("pattern: 'a.org/.*'", "pattern: 'b.org/x'", False),
        ("pattern: 'a.org/.*'", "pattern: 'a.org:8443/x'", False),
        # The `a` in the path may be there no time or many times: it is no longer a common beginning.
        ("pattern: 'a.org/a.*'", "pattern: 'a.org/a*b'", False),
        ("pattern: 'a.org/a.*'", "pattern: 'a.org/a?'", False),
        ("pattern: 'a.org/a.*'", "pattern: 'a.org/a{0}b'", False),
        # An escaped dot, then anything but a wildcard.
        (r"pattern: 'a.org/a\.*'", r"pattern: 'a.org/a\b'", False),
        ("pattern: '.*/.*'", "pattern: 'a.org/x'", False),
        ("pattern: 'a.org/.*', method: GET", "pattern: 'a.org/x'", False),
        ("pattern: 'a.org/.*', method: [GET, HEAD]", "pattern: 'a.org/x', method: GET", True),
        ("pattern: 'a.org/.*', method: GET", "pattern: 'a.org/x', method: [GET, POST]", False),
        ("pattern: 'a.org/.*', scheme: https", "pattern: 'a.org/x'", False),
        ("pattern: 'a.org/.*', scheme: https", "pattern: 'a.org/x', scheme: https", True),
        ("pattern: 'a.org/.*'", "pattern: 'a.org/x', scheme: http", True),
    ],
)
def test_a_rule_is_hidden_by_an_earlier_one(tmp_path: Path, first: str, second: str, hidden: bool) -> None:
    found = list(shadowed(rules(tmp_path, f"{first}, {ALLOW}", f"{second}, {ALLOW}")))
    assert [(shadow.rule.line, shadow.by.line) for shadow in found] == ([(3, 2)] if hidden else [])


def test_the_words_name_both_patterns(tmp_path: Path) -> None:
    (found,) = shadowed(rules(tmp_path, f"pattern: 'a.org/.*', {ALLOW}", "pattern: 'a.org/x', action: REJECT"))
    assert str(found) == "a.org/x never matches: line 2 (a.org/.*) comes first"


PATHS = st.text(alphabet="ab/.", max_size=6).map(lambda text: re.sub(r"/+", "/", f"/{text}"))
PATTERNS = st.lists(
    st.sampled_from(["a", "b", "/", r"\.", ".", "*", "+", "?", ".*", "[ab]", "(a|b)", "{2}"]), max_size=5
)


# The fixture that all tests have does nothing that one input could leave to the next.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PATTERNS, min_size=2, max_size=3), st.lists(PATHS, max_size=20))
def test_a_hidden_rule_is_never_the_first_to_match(pieces: list[list[str]], paths: list[str]) -> None:
    found = []
    for line, parts in enumerate(pieces, 1):
        try:
            found.append(Rule(compile_pattern("a.org/" + "".join(parts)), Action.ALLOW, line=line))
        except ValueError:
            continue
    every = Rules(found)
    hidden = {shadow.rule.line for shadow in shadowed(every)}
    for path in paths:
        try:
            target = parse_url(f"https://a.org{path}")
        except ValueError:
            continue
        rule = every.match("GET", target)
        assert rule is None or rule.line not in hidden

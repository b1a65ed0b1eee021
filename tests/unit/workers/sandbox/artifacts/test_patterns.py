"""Reads patterns of artifacts, and compares single names with what a shell would say."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_workers.sandbox.artifacts.patterns import MAX_LENGTH, PatternError, parse


def matches(pattern: str, name: str) -> bool:
    (expected,) = parse(pattern).names
    return expected.matches(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../x", "leads nowhere"),
        ("a/../x", "leads nowhere"),
        ("a/..", "leads nowhere"),
        ("./a", "leads nowhere"),
        ("a//b", "leads nowhere"),
        ("a//", "leads nowhere"),
        ("/", "absolute"),
        ("!a", "no exceptions"),
        ("a\\*", "no escapes"),
        ("a**", "stands alone"),
        ("x/***", "stands alone"),
        ("[a", "without its"),
        ("[]", "without its"),
        ("[!]", "without its"),
        ("[a/b]", "without its"),
        ("[z-a]", "empty"),
        ("[^a]", "different shells"),
        ("[[:alpha:]]", "different shells"),
        ("{a,b}", "braces"),
        ("a\nb", "cannot be shown"),
        ("a\0b", "cannot be shown"),
        ("\udcff", "cannot be shown"),
        ("a" * (MAX_LENGTH + 1), "longer"),
        ("a/" * 65, "more than 64"),
    ],
)
def test_what_is_no_pattern_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        parse(text)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("app", "app", True),
        ("app", "App", False),
        ("*", "a b", True),
        ("*", ".hidden", False),
        (".*", ".hidden", True),
        ("?x", ".x", False),
        ("[.]x", ".x", False),
        ("[!a]x", ".x", False),
        ("*.whl", "a.whl", True),
        ("*.whl", "a.whl.asc", False),
        ("a*", "a", True),
        ("a*b*c", "aXbYbZc", True),
        ("a*bc", "abcbc", True),
        ("*ab*ab", "ab", False),
        ("[a-c]?", "bz", True),
        ("[!a-c]?", "bz", False),
        ("[*]", "*", True),
        ("[*]", "a", False),
        ("[[]x", "[x", True),
        ("[]]x", "]x", True),
        ("[a-]", "-", True),
        ("[{]x[}]", "{x}", True),
        ("a.b", "axb", False),
        ("(a|b)$", "(a|b)$", True),
        ("*", "a\nb", True),
        ("ä?", "äö", True),
        ("**", ".git", False),
        ("**", "src", True),
    ],
)
def test_a_name_matches_as_in_a_shell(pattern: str, name: str, *, expected: bool) -> None:
    assert matches(pattern, name) is expected


@given(st.text("ab*?[]-!", min_size=1, max_size=8), st.text("ab-]!", max_size=8))
def test_names_match_as_pythons_own_fnmatch_says(pattern: str, name: str) -> None:
    try:
        found = parse(pattern)
    except PatternError:
        return
    if not found.names[0].deep:
        assert found.names[0].matches(name) is fnmatch.fnmatchcase(name, pattern)


@pytest.mark.timeout(20)
def test_no_pattern_takes_longer_than_its_length_asks_for() -> None:
    assert not matches("*a" * 100 + "b", "a" * 255)
    assert not matches("*?" * 100 + "[b]", "a" * 255)


def test_a_slash_at_the_end_wants_a_folder_and_repeated_depth_says_nothing_new() -> None:
    assert parse("docs/").folder
    assert not parse("docs").folder
    assert len(parse("a/**/**/**/b").names) == 3


def test_a_name_that_no_file_can_have_is_refused_before_a_build_looks_for_it() -> None:
    parse(f"dist/{'ü' * 127}x")
    with pytest.raises(PatternError, match="a name in it has 256 bytes, and no file's name has more than 255"):
        parse(f"dist/{'ü' * 128}")
    parse("[a]" * 200)  # what it matches is shorter

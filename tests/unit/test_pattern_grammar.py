"""Holds the two readers of artifact patterns to one grammar: the spec refuses by it, the cell matches by it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermit_steps.grammar import check_pattern
from hermit_workers.sandbox.artifacts.patterns import PatternError, parse

_PIECES = st.sampled_from(["a", ".", "/", "*", "**", "?", "[", "]", "!", "^", "-", "[:", "[a-z]", "{", "\\", "é", "\n"])


def _steps(text: str) -> bool:
    try:
        check_pattern(text)
    except ValueError:
        return False
    return True


def _cell(text: str) -> bool:
    try:
        parse(text)
    except PatternError:
        return False
    return True


@given(st.lists(_PIECES, max_size=8).map("".join))
def test_what_a_spec_may_say_a_cell_can_match(text: str) -> None:
    assert _steps(text) == _cell(text)


def test_both_take_and_refuse_something() -> None:
    for text in ("dist/*.whl", "docs/", "**/*.deb", "[[]x"):
        assert _steps(text), text
        assert _cell(text), text
    for text in ("", "/a", "../a", "a//b", "[^a]", "[[:alpha:]]", "a**", "{a,b}"):
        assert not _steps(text), text
        assert not _cell(text), text

"""What commands print for people stands in columns and plays no tricks."""

from __future__ import annotations

import pytest

from hermit_cli.table import aligned, counted, tell


def test_columns_stand_under_each_other_and_lines_end_without_spaces() -> None:
    rows = [("a", "1", "x"), ("long", "10", "")]
    assert aligned(rows, right=frozenset({1})) == ["  a      1  x", "  long  10"]


def test_no_rows_are_no_lines() -> None:
    assert aligned([]) == []


def test_an_escape_sequence_is_shown_and_counts_as_it_is_shown() -> None:
    assert aligned([("\x1b[2J", "x"), ("12345678", "y")], indent="") == ["\\x1b[2J   x", "12345678  y"]


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (0, "host", "0 hosts"),
        (3, "body", "3 bodies"),
        (2, "day", "2 days"),
    ],
)
def test_nouns_agree_with_their_numbers(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_told_lines_go_to_stdout_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    tell("one\ntwo \x1b[31m")
    assert capsys.readouterr() == ("one\ntwo \\x1b[31m\n", "")

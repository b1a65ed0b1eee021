"""Feeds a terminal's whole language to what keeps it away from the terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_cli.build.terminal import Cleaner, Indented

# What the reader may ever see: text, tabs, ends of lines, colours, and a row of its own begun anew.
ALLOWED = re.compile(r"(?:[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\x1b\[[0-9;]*m|\r\x1b\[K)*")
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [
                b"\x1b",
                b"\x1b[",
                b"\x1b]",
                b"\x1bP",
                b"\x1b\\",
                b"31m",
                b"\r",
                b"\n",
                b"\x07",
                b"2J",
                b"52;c;",
                b"\xc2\x9b",
            ]
        ),
    ),
    max_size=30,
)


def cleaned(octets: bytes, *, colours: bool = False, rewrites: bool = False) -> str:
    cleaner = Cleaner(colours=colours, rewrites=rewrites)
    return cleaner.feed(octets) + cleaner.end()


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"plain text\n\twith a tab\n", "plain text\n\twith a tab\n"),
        ("grüße, 日本\n".encode(), "grüße, 日本\n"),
        (b"not \xff utf-8\xc3\n", "not � utf-8�\n"),
        (b"a\x1b[2Jb\x1b[1;1Hc\x1b[1Ad\x1b[?1049he\x1b[5;10r", "abcde"),
        (b"\x1b]0;a title\x07text", "text"),
        (b"\x1b]52;c;ZXZpbA==\x1b\\text", "text"),
        (b"\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0~\x1b\\text\x1b_app\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\", "text"),
        (b"\x1bc\x1b(0\x1b#8\x1b=text\x1b7\x1b8\x1bM", "text"),
        (b"bell\x07 back\x08 form\x0c null\x00 shift\x0e\x0f delete\x7f", "bell back form null shift delete"),
        ("c1 \x9b31m \x9d0;t\x9c".encode(), "c1 �31m �0;t�"),
        ("a\u202eb\u2066c".encode(), "a�b�c"),
        (b"\x1b]0;a title that never ends\nthe next line", "\nthe next line"),
        (b"\x1b]0;never ends, with a colour \x1b[31min it", "in it"),
        (b"cut \x1b[31", "cut [31"),
        (b"dos\r\nlines\r\n", "dos\nlines\n"),
        (b"10%\r20%\r100%\n", "10%\n20%\n100%\n"),
    ],
)
def test_what_moves_or_sets_anything_is_gone(printed: bytes, shown: str) -> None:
    assert cleaned(printed) == shown


@pytest.mark.parametrize(
    ("sequence", "kept"),
    [
        ("\x1b[31m", True),
        ("\x1b[m", True),
        ("\x1b[0;1;32m", True),
        ("\x1b[38;5;208m", True),
        ("\x1b[48;2;1;2;3;4m", True),
        ("\x1b[97;107m", True),
        ("\x1b[8m", False),  # hides what follows
        ("\x1b[5m", False),  # blinks
        ("\x1b[>4;2m", False),  # sets the keyboard of xterm
        ("\x1b[31;8m", False),
        ("\x1b[" + "1;" * 200 + "m", False),
    ],
)
def test_of_all_sequences_only_colours_stay_and_only_where_they_are_wanted(sequence: str, kept: bool) -> None:
    assert (sequence in cleaned(sequence.encode() + b"x", colours=True)) == kept
    assert "\x1b" not in cleaned(sequence.encode() + b"x")


def test_a_progress_bar_rewrites_its_own_row_on_a_terminal() -> None:
    assert cleaned(b"10%\r20%\n", rewrites=True) == "10%\r\x1b[K20%\n"


@given(PIECES, st.booleans(), st.booleans())
def test_nothing_else_ever_gets_through(pieces: list[bytes], colours: bool, rewrites: bool) -> None:
    assert ALLOWED.fullmatch(cleaned(b"".join(pieces), colours=colours, rewrites=rewrites).replace("\n", ""))


@given(PIECES, st.booleans())
def test_in_which_pieces_it_comes_makes_no_difference(pieces: list[bytes], rewrites: bool) -> None:
    cleaner = Cleaner(rewrites=rewrites)
    assert "".join([cleaner.feed(piece) for piece in pieces] + [cleaner.end()]) == cleaned(
        b"".join(pieces), rewrites=rewrites
    )


def test_a_string_without_end_holds_back_no_more_than_its_bound() -> None:
    cleaner = Cleaner()
    shown = cleaner.feed(b"\x1b]0;" + b"a" * 10_000)
    assert shown.endswith("a" * 1000)


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["one\ntwo\n"], "  one\n  two\n"),
        (["one", " line\n", "two"], "  one line\n  two\n"),
        (["one\n", "\n", "two\n"], "  one\n  \n  two\n"),
        (["10%\r\x1b[K20%\n"], "  10%\r\x1b[K  20%\n"),
        (["\n  two spaces of its own\n"], "  \n    two spaces of its own\n"),
        ([""], ""),
    ],
)
def test_every_line_is_under_its_heading(pieces: list[str], shown: str) -> None:
    margin = Indented()
    assert "".join([margin.feed(piece) for piece in pieces] + [margin.end()]) == shown


def test_a_colour_ends_with_its_line() -> None:
    margin = Indented(colours=True)
    assert margin.feed("\x1b[31mred\n") == "  \x1b[31mred\x1b[0m\n"
    assert margin.feed("red?") + margin.end() == "  red?\x1b[0m\n"


@given(st.lists(st.text(alphabet="ab \n", max_size=6), max_size=12))
def test_margins_do_not_depend_on_the_pieces(pieces: list[str]) -> None:
    one, other = Indented(), Indented()
    assert "".join([one.feed(piece) for piece in pieces] + [one.end()]) == other.feed("".join(pieces)) + other.end()

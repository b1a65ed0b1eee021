"""The view of an expression's pieces agrees with RE2 about where classes end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.rules.expression import compile_literals, compile_re2, pieces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b", ["a", ".", "b"]),
        (r"a\.b", ["a", r"\.", "b"]),
        ("[a/b]c", ["[a/b]", "c"]),
        ("[]a/]c", ["[]a/]", "c"]),
        ("[^]a/]c", ["[^]a/]", "c"]),
        (r"[\]/]c", [r"[\]/]", "c"]),
        ("[[:alpha:]/]c", ["[[:alpha:]/]", "c"]),
        ("[[/]c", ["[[/]", "c"]),
        ("[a", ["[a"]),
        ("\\", ["\\"]),
        ("", []),
    ],
)
def test_classes_and_escapes_are_one_piece(text: str, expected: list[str]) -> None:
    assert [piece for _, piece in pieces(text)] == expected


@given(st.text("ab[]^\\:-/(", max_size=20))
def test_pieces_are_the_whole_text_and_each_class_is_one_to_re2(text: str) -> None:
    cut = pieces(text)
    assert "".join(piece for _, piece in cut) == text
    assert [position for position, _ in cut] == [sum(len(p) for _, p in cut[:n]) for n in range(len(cut))]
    try:
        compile_re2(text)
    except ValueError:
        return
    for _, piece in cut:
        if piece.startswith("["):
            compile_re2(piece)


def test_case_counts_unless_said() -> None:
    assert not compile_re2("a").fullmatch(b"A")
    assert compile_re2("a", ignore_case=True).fullmatch(b"A")


def test_literals_mean_themselves() -> None:
    search = compile_literals([b"a.c", b"\x00\xff", b"x|y"])
    assert [bool(search.search(text)) for text in (b"zabcz", b"za.cz", b"\x00\xff", b"x", b"x|y")] == [
        False,
        True,
        True,
        False,
        True,
    ]

"""Values of a payload: of the expected type, or refused with their place; free text is shown without tricks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_master.hooks.fields import BadPayloadError, Fields, printable
from hermit_master.names import parse_branch


def test_values_of_the_expected_type_are_given() -> None:
    fields = Fields({"a": {"b": "main", "n": 3, "t": True, "when": "1970-01-01T01:00:00+01:00"}, "none": None})
    inner = fields.inner("a")
    assert "a" in fields
    assert "none" not in fields
    assert "nowhere" not in fields
    assert (inner.text("b"), inner.named("b", parse_branch), inner.number("n")) == ("main", "main", 3)
    assert inner.flag("t")
    assert not inner.flag("absent")
    assert inner.time("when") == 0
    assert inner.shown("b", 2) == "ma"
    assert inner.shown("n", 2) == ""


@pytest.mark.parametrize(
    ("take", "values"),
    [
        (lambda fields: fields.inner("x"), (None, "a", [], 1)),
        (lambda fields: fields.text("x"), (None, 1, [], {})),
        (lambda fields: fields.number("x"), (None, 0, -1, True, 1.5, "1", 1 << 31)),
        (lambda fields: fields.flag("x"), (None, 0, "false", [])),
        (lambda fields: fields.named("x", parse_branch), (None, 1, "a..b", "")),
    ],
)
def test_anything_else_is_refused_with_its_place(take: Callable[[Fields], object], values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(BadPayloadError, match=r"outer\.x"):
            take(Fields({"outer": {"x": value}}).inner("outer"))


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2019-05-15", "2019-05-15T15:20:33", "0001-01-01T00:00:00+14:00", "x" * 99, "9" * 30]
)
def test_a_time_that_cannot_be_read_is_none(text: str) -> None:
    assert Fields({"t": text}).time("t") in {None, 0}


@given(st.text(), st.integers(0, 50))
def test_free_text_can_be_shown_and_stored(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) == min(len(text), limit)
    assert shown.replace("\n", "").isprintable()
    shown.encode()

"""Tests conditions and ranges against the tables of RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.replayer.conditions import Verdict, judge, wanted_range
from hermit_proxy.snapshot.entry import Entry

BEFORE, THEN, AFTER = (f"Mon, 06 Nov 2023 {hour}:00:00 GMT" for hour in ("09", "10", "11"))
STRONG = Entry("GET", "https://x.example.org/", 200, headers=(("etag", '"a"'), ("last-modified", THEN)))
WEAK = Entry("GET", "https://x.example.org/", 200, headers=(("etag", 'W/"a"'),))
BARE = Entry("GET", "https://x.example.org/", 200)
SEND, SAME, FAILED = Verdict.SEND, Verdict.NOT_MODIFIED, Verdict.FAILED


@pytest.mark.parametrize(
    ("entry", "headers", "verdict"),
    [
        (STRONG, {}, SEND),
        (STRONG, {"if-none-match": '"a"'}, SAME),
        (STRONG, {"if-none-match": 'W/"a"'}, SAME),
        (STRONG, {"if-none-match": '"b", "a"'}, SAME),
        (STRONG, {"if-none-match": "*"}, SAME),
        (STRONG, {"if-none-match": '"b"'}, SEND),
        (STRONG, {"if-none-match": "a"}, SEND),
        (STRONG, {"if-none-match": '"b"', "if-modified-since": AFTER}, SEND),
        (STRONG, {"if-modified-since": THEN}, SAME),
        (STRONG, {"if-modified-since": AFTER}, SAME),
        (STRONG, {"if-modified-since": BEFORE}, SEND),
        (STRONG, {"if-modified-since": "yesterday"}, SEND),
        (STRONG, {"if-modified-since": "Mon, 99 Foo 99999999999 99:99:99 GMT"}, SEND),
        (STRONG, {"if-modified-since": "Mon, 06 Nov 2023 11:00:00 -0000"}, SAME),
        (WEAK, {"if-none-match": '"a"'}, SAME),
        (WEAK, {"if-modified-since": AFTER}, SEND),
        (BARE, {"if-none-match": '"a"'}, SEND),
        (BARE, {"if-none-match": "*"}, SAME),
        (STRONG, {"if-match": '"a"'}, SEND),
        (STRONG, {"if-match": "*"}, SEND),
        (STRONG, {"if-match": '"b"'}, FAILED),
        (WEAK, {"if-match": 'W/"a"'}, FAILED),
        (STRONG, {"if-unmodified-since": BEFORE}, FAILED),
        (STRONG, {"if-unmodified-since": THEN}, SEND),
        (BARE, {"if-unmodified-since": BEFORE}, SEND),
        (STRONG, {"if-match": '"a"', "if-unmodified-since": BEFORE}, SEND),
    ],
)
def test_conditions_are_judged_in_their_order(entry: Entry, headers: dict[str, str], verdict: Verdict) -> None:
    assert judge(entry, headers) is verdict


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes = 1-2", (1, 3)),
        ("bytes=100-", (100, 100)),
        ("bytes=500-600", (100, 100)),
        ("bytes=-0", (100, 100)),
        ("bytes=2-1", None),
        ("bytes=0-1,5-6", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=1-2x", None),
        ("lines=1-2", None),
        ("bytes 1-2", None),
        ("bytes=99999999999999999999-", None),
    ],
)
def test_a_range_is_cut_to_the_size_or_passed_over(asked: str, expected: tuple[int, int] | None) -> None:
    assert wanted_range(STRONG, 100, {"range": asked}) == expected


@pytest.mark.parametrize(
    ("entry", "condition", "holds"),
    [
        (STRONG, '"a"', True),
        (STRONG, '"b"', False),
        (WEAK, 'W/"a"', False),
        (STRONG, THEN, True),
        (STRONG, AFTER, False),
        (BARE, '"a"', False),
        (BARE, THEN, False),
        (STRONG, "rubbish", False),
    ],
)
def test_a_range_holds_only_for_the_version_that_it_names(entry: Entry, condition: str, *, holds: bool) -> None:
    found = wanted_range(entry, 100, {"range": "bytes=1-2", "if-range": condition})
    assert (found is not None) == holds


@given(st.text(max_size=60), st.integers(0, 10**6))
def test_no_range_reaches_beyond_the_body(asked: str, size: int) -> None:
    for text in (asked, f"bytes={asked}"):
        found = wanted_range(STRONG, size, {"range": text})
        assert found is None or 0 <= found[0] <= found[1] <= size


@given(
    st.dictionaries(
        st.sampled_from(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]), st.text()
    )
)
def test_no_condition_is_an_error(headers: dict[str, str]) -> None:
    for entry in (STRONG, WEAK, BARE):
        assert judge(entry, headers) in Verdict

"""The quick way to see that a URL is normalised must agree with the normaliser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.request.target import BadTargetError, host_file_name, parse_url
from hermit_proxy.snapshot.check import MAX_VALUE, file_name_of, is_file_name, problems, recordable, value_fits
from hermit_proxy.snapshot.entry import Entry

HOSTS = ["https://", "http://", "example.org", "EXAMPLE", ":443", ":80", ":8443", "[::1]", "127.1", "@"]
PATHS = [
    "/",
    "//",
    ".",
    "..",
    "%2F",
    "%2f",
    "%41",
    "%",
    "?",
    "#",
    "a",
    "Z",
    "~",
    ";",
    ":",
    "é",
    " ",
    "\\",
    "*",
    "'",
    '"',
]
parts = st.lists(st.sampled_from([*HOSTS, *PATHS]), max_size=8).map("".join)


@given(parts.map("https://example.org/".__add__) | parts | st.text(max_size=30))
def test_a_url_is_accepted_just_when_it_is_its_own_normal_form(url: str) -> None:
    try:
        target = parse_url(url)
        expected = host_file_name(target) if target.url == url else None
    except BadTargetError:
        expected = None
    try:
        found: str | None = file_name_of(url)
    except BadTargetError:
        found = None
    assert found == expected


@pytest.mark.parametrize(
    ("tail", "normal"),
    [
        ("@scope%2Fname", True),
        ("@scope%2Fname/-/name-1.0.tgz?x=1", True),
        ("a%2F-%2F~", True),
        ("a%2F", True),
        ("a%2F%2Fb", True),
        ("%2Fa", True),
        ("a%2F..b", True),
        ("a%2F..", False),
        ("a%2F../b", False),
        ("a%2F.%2Fb", False),
        ("a%2F..;b/c", False),
        ("a%2f-b", False),
        ("a%2Db", False),
        ("a%252F..%252Fb", False),
    ],
)
def test_an_escaped_slash_is_normal_where_no_dot_segment_hides_behind_it(tail: str, normal: bool) -> None:
    try:
        found: str | None = file_name_of(f"https://example.org/{tail}")
    except BadTargetError:
        found = None
    assert found == ("example.org.yaml" if normal else None)


@pytest.mark.parametrize(
    ("name", "origin", "expected"),
    [
        ("example.org.yaml", "https://example.org/", True),
        ("example.org.yaml", "https://example.org:8443/", False),
        ("../x.yaml", "https://../x/", False),
    ],
)
def test_a_file_name_belongs_to_an_origin(name: str, origin: str, expected: bool) -> None:
    assert is_file_name(name, origin) is expected


def test_statuses_that_say_not_now_or_answer_another_question_are_not_recorded() -> None:
    assert {status for status in range(100, 600) if recordable(status)} == set(range(200, 500)) - {
        206, 304, 407, 408, 425, 429
    }  # fmt: skip


@pytest.mark.parametrize(("status", "fits"), [(200, True), (204, False), (404, False)])
def test_a_stand_in_is_the_body_of_an_ok(status: int, fits: bool) -> None:
    assert (problems(Entry("GET", "https://example.org/token", status, stand_in="token")) == []) == fits


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("", True),
        ("a\tb", True),
        ("\xe9", True),
        ("a ", False),
        ("\ta", False),
        ("a\x01b", False),
        ("a\x7f", False),
        ("\u0100", False),
        ("a" * MAX_VALUE, True),
        ("a" * (MAX_VALUE + 1), False),
    ],
)
def test_a_value_is_octets_without_controls_or_space_around_them(value: str, fits: bool) -> None:
    assert value_fits(value) is fits

"""What makes two requests the same: headers that choose answers count, those that only name the client do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.request.key import Request, acceptability, normalise_header, vary_of
from hermit_proxy.request.target import parse_url
from hermit_proxy.snapshot import check
from hermit_proxy.snapshot.entry import Entry

TARGET = parse_url("https://registry.example.org/simple/foo/")


def request(**headers: str) -> Request:
    return Request("GET", TARGET, {name.replace("_", "-"): value for name, value in headers.items()})


def test_headers_that_name_the_client_never_vary_an_answer() -> None:
    asked = request(
        user_agent="npm/9.2.0", range="bytes=0-1", npm_session="1", authorization="Bearer x", if_none_match='"a"'
    )
    assert asked.varying() == ()
    assert vary_of(asked, "User-Agent, Range, Authorization, *", None) == ()


def test_headers_that_choose_the_answer_are_normalised_and_sorted() -> None:
    asked = request(git_protocol="Version=2", accept="A/B,  c/D ;q=0.5")
    assert asked.varying() == (("accept", "a/b, c/d ;q=0.5"), ("git-protocol", "version=2"))


@pytest.mark.parametrize(
    ("headers", "vary", "content_type", "expected"),
    [
        ({"accept": "a/b"}, "Accept", "a/b", (("accept", "a/b"),)),
        ({"accept": "a/b"}, "origin,  ACCEPT ", "a/b", (("accept", "a/b"),)),
        ({"accept": "a/b"}, None, "a/b", ()),
        ({"accept": "a/b"}, "Accept-Encoding", "a/b", ()),
        ({"accept": "a/b"}, None, "Application/vnd.oci.image.manifest.v1+json", (("accept", "a/b"),)),
        ({"accept": "application/vnd.x+json"}, None, "a/b", (("accept", "application/vnd.x+json"),)),
        ({"git_protocol": "version=2"}, None, None, (("git-protocol", "version=2"),)),
        ({}, "Accept", "a/b", ()),
    ],
)
def test_an_entry_varies_by_what_the_response_or_a_vendors_type_says(
    headers: dict[str, str], vary: str | None, content_type: str | None, expected: tuple[tuple[str, str], ...]
) -> None:
    assert vary_of(request(**headers), vary, content_type) == expected


@pytest.mark.parametrize(
    ("accept", "content_type", "quality"),
    [
        ("*/*", "text/html", 1.0),
        ("text/*;q=0.5, */*;q=0.1", "text/html; charset=utf-8", 0.5),
        ("text/html;q=0, */*", "text/html", 0.0),
        ("text/*;q=0.9, text/html;q=0.2", "text/html", 0.2),
        ("application/json", "text/html", 0.0),
        ("TEXT/HTML ; Q=0.3", "Text/HTML", 0.3),
        ("text/html;q=nan", "text/html", 0.0),
        ("text/html;q=inf", "text/html", 0.0),
        ("text/html;q=1_0", "text/html", 0.0),
        ("text/html;q=-1", "text/html", 0.0),
        ("text/html;q=2", "text/html", 0.0),
        ("", "text/html", 0.0),
    ],
)
def test_the_quality_of_a_type_is_what_the_most_precise_range_says(
    accept: str, content_type: str, quality: float
) -> None:
    assert acceptability(accept, content_type) == quality


@given(st.text(), st.text())
def test_any_accept_header_gives_a_quality_between_nothing_and_one(accept: str, content_type: str) -> None:
    assert 0.0 <= acceptability(accept, content_type) <= 1.0


@given(st.text(st.characters(max_codepoint=255)))
def test_normalising_a_header_twice_changes_nothing(value: str) -> None:
    once = normalise_header(value)
    assert normalise_header(once) == once


@pytest.mark.parametrize(
    ("value", "folded"), [("a/b, ", "a/b"), (", a/b", "a/b"), ("A/b,,c/d ,", "a/b, c/d"), (",", ""), ("", "")]
)
def test_empty_elements_of_a_list_say_nothing(value: str, folded: str) -> None:
    assert normalise_header(value) == folded


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=255, exclude_characters="\x7f"), max_size=40))
def test_what_a_request_varies_by_may_stand_in_a_snapshot(value: str) -> None:
    target = parse_url("https://registry.example.org/v2/")
    vary = vary_of(Request("GET", target, {"accept": value}), "accept", None)
    assert check.problems(Entry("GET", target.url, 404, vary=vary)) == []

"""Tests that an entry becomes exactly one answer, framed so that the next one begins where this one ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.replayer.answer import TOKEN, Answer, answer, text
from hermit_proxy.snapshot.entry import Entry

URL = "https://x.example.org/f"
DIGEST = "ab" * 32
FILE = Entry("GET", URL, 200, sha256=DIGEST, size=100, headers=(("content-type", "a/b"), ("etag", '"1"')))


def framed(found: Answer) -> dict[bytes, bytes]:
    lines = found.head(close=False).split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    return dict(line.split(b": ", 1) for line in lines[1:-2])


def test_a_file_is_sent_whole() -> None:
    found = answer(FILE, "GET", {})
    assert (found.status, found.sha256, found.start, found.stop, found.total) == (200, DIGEST, 0, 100, 100)
    assert found.head(close=True) == (
        b'HTTP/1.1 200 OK\r\ncontent-type: a/b\r\netag: "1"\r\naccept-ranges: bytes\r\n'
        b"content-length: 100\r\nconnection: close\r\n\r\n"
    )


def test_a_part_is_a_206_of_its_length() -> None:
    found = answer(FILE, "GET", {"range": "bytes=10-19"})
    assert (found.status, found.start, found.stop, found.size, found.length, found.total) == (206, 10, 20, 10, 10, 100)
    assert framed(found)[b"content-range"] == b"bytes 10-19/100"


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_ranges_are_for_get_alone(method: str) -> None:
    assert answer(FILE, method, {"range": "bytes=10-19"}).status == 200


def test_a_range_that_cannot_be_is_a_416_with_the_size() -> None:
    found = answer(FILE, "GET", {"range": "bytes=100-"})
    assert (found.status, framed(found)[b"content-range"], found.sha256) == (416, b"bytes */100", None)


def test_head_has_the_length_and_no_body() -> None:
    found = answer(FILE, "HEAD", {})
    assert (found.length, found.size, found.sha256) == (100, 0, None)


def test_a_304_has_validators_and_nothing_of_the_body() -> None:
    found = answer(FILE, "GET", {"if-none-match": '"1"'})
    assert framed(found) == {b"etag": b'"1"'}
    assert (found.status, found.size, found.length) == (304, 0, None)


def test_a_412_says_so() -> None:
    assert answer(FILE, "GET", {"if-match": '"2"'}).status == 412


@pytest.mark.parametrize("status", [201, 203, 300, 404, 410])
def test_conditions_and_ranges_are_for_a_200_alone(status: int) -> None:
    found = answer(replace(FILE, status=status), "GET", {"range": "bytes=1-2", "if-none-match": "*"})
    assert (found.status, found.size) == (status, 100)


@pytest.mark.parametrize(("status", "length"), [(204, None), (301, 0), (302, 0), (201, 0), (205, 0)])
def test_answers_without_body_are_framed_as_such(status: int, length: int | None) -> None:
    found = answer(Entry("GET", URL, status, headers=(("location", "/x"),)), "GET", {})
    assert (found.length, found.size) == (length, 0)
    assert framed(found)[b"location"] == b"/x"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 499])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_negative_answer_has_words_of_the_proxys_own(status: int, method: str) -> None:
    entry = Entry(
        method if method == "POST" else "GET", URL, status, headers=(("www-authenticate", 'Bearer realm="x"'),)
    )
    found = answer(entry, method, {})
    assert (found.status, found.length, bool(found.inline)) == (status, found.length or 1, method != "HEAD")
    assert framed(found)[b"www-authenticate"] == b'Bearer realm="x"'
    assert framed(found)[b"content-type"].startswith(b"text/plain")


def test_a_recorded_head_tells_what_was_announced() -> None:
    head = Entry("HEAD", URL, 200, size=12345)
    assert framed(answer(head, "HEAD", {}))[b"content-length"] == b"12345"
    assert b"content-length" not in framed(answer(replace(head, size=None), "HEAD", {}))
    assert answer(replace(head, headers=(("etag", '"1"'),)), "HEAD", {"if-none-match": '"1"'}).status == 304
    assert answer(replace(head, status=404, size=None), "HEAD", {}).size == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_is_a_stand_in(method: str) -> None:
    found = answer(
        Entry(method, URL, 200, stand_in="token", headers=(("content-type", "application/json"),)), method, {}
    )
    assert (found.inline, framed(found)[b"content-type"]) == (TOKEN, b"application/json")


def test_own_words_replace_a_recorded_type() -> None:
    found = text(200, b"x", "GET", (("content-type", "a/b"), ("etag", '"1"')))
    assert [name for name, _ in found.headers] == ["content-type", "etag"]
    assert found.headers[0][1].startswith("text/plain")


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT"]),
    entry_method=st.sampled_from(["GET", "HEAD", "POST"]),
    status=st.integers(200, 499),
    size=st.none() | st.integers(0, 10**9),
    kept=st.booleans(),
    asked=st.sampled_from(
        [{}, {"range": "bytes=0-4"}, {"range": "bytes=-1"}, {"if-none-match": "*"}, {"if-match": '"z"'}]
    ),
)
def test_no_answer_shifts_the_next(  # noqa: PLR0917  hypothesis gives them by name
    method: str,
    entry_method: str,
    status: int,
    size: int | None,
    kept: bool,
    asked: dict[str, str],
) -> None:
    """Content-Length is the size of what goes out, but for HEAD; 204 and 304 have neither."""
    entry = Entry(entry_method, URL, status, sha256=DIGEST if kept and size is not None else None, size=size)
    found = answer(entry, method, asked)
    length = framed(found).get(b"content-length")
    if found.status in {204, 304}:
        assert (length, found.size) == (None, 0)
    elif method == "HEAD" or entry_method == "HEAD":
        assert found.size == 0
    else:
        assert length == b"%d" % found.size

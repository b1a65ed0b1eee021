"""An entry says what came, without what is secret or for people only."""

from __future__ import annotations

import pytest

from hermit_proxy.recorder import capture
from hermit_proxy.request.key import Request
from hermit_proxy.request.target import parse_url
from hermit_proxy.snapshot.check import problems

URL = "https://registry.example.org/v2/"
GET = Request("GET", parse_url(URL), {"accept": "application/vnd.example+json"})
HEADERS = {"content-type": "text/plain", "set-cookie": "a=b", "date": "now", "etag": '"x"', "content-length": "5"}


def test_a_good_answer_keeps_digest_size_and_the_headers_on_the_list() -> None:
    entry = capture.entry_for(GET, URL, 200, HEADERS, sha256="a" * 64, size=5)
    assert entry.headers == (("content-type", "text/plain"), ("etag", '"x"'))
    assert (entry.sha256, entry.size, entry.vary) == ("a" * 64, 5, (("accept", "application/vnd.example+json"),))
    assert problems(entry) == []


def test_a_negative_answer_keeps_no_body_and_no_type() -> None:
    entry = capture.entry_for(GET, URL, 404, HEADERS, sha256="a" * 64, size=5)
    assert (entry.sha256, entry.size, entry.headers) == (None, None, ())
    assert problems(entry) == []


def test_head_keeps_the_announced_length() -> None:
    entry = capture.entry_for(Request("HEAD", GET.target), URL, 200, HEADERS)
    assert (entry.sha256, entry.size) == (None, 5)
    assert problems(entry) == []


def test_a_signed_link_is_not_kept() -> None:
    link = {"link": "<https://cdn.example.org/?X-Amz-Signature=s>"}
    entry = capture.entry_for(GET, URL, 200, link, sha256="a" * 64, size=0)
    assert entry.header("link") is None


@pytest.mark.parametrize(
    "value", ["https://user:s3cret@cdn.example.org/x", "//user@cdn.example.org/", "<https://u:p@a/>; rel=x"]
)
def test_a_link_or_location_with_a_user_is_not_kept(value: str) -> None:
    entry = capture.entry_for(GET, URL, 302, {"location": value, "link": value}, sha256="a" * 64, size=0)
    assert entry.headers == ()
    plain = capture.entry_for(GET, URL, 302, {"location": "https://a.example.org/@scope/x"}, sha256="a" * 64, size=0)
    assert plain.header("location") == "https://a.example.org/@scope/x"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('Bearer realm="https://a.example.org/token",service="r",scope="x:y", nonce="n"',
         'Bearer realm="https://a.example.org/token",service="r",scope="x:y"'),
        ("Basic realm=x", "Basic realm=x"),
        ("Negotiate YWJjZGVm==", "Negotiate"),
        ('Digest realm="a, b", nonce="secret", opaque=o', 'Digest realm="a, b"'),
    ],
)  # fmt: skip
def test_a_challenge_is_kept_without_tokens(value: str, kept: str) -> None:
    assert capture.challenge_without_tokens(value) == kept


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"token": "t"}', True),
        (b'{"access_token": "t", "expires_in": 300}', True),
        (b'{"token": 5}', False),
        (b'{"dist": {"token": "t"}}', False),
        (b'["token"]', False),
        (b'{"token": "t"', False),
        (b"[" * 60_000 + b'"token"', False),
        (b'{"token": "' + b"t" * (64 * 1024) + b'"}', False),
        (None, False),
    ],
)
def test_a_token_is_known_by_its_json(body: bytes | None, expected: bool) -> None:
    assert capture.is_token(body) is expected


def test_a_stand_in_holds_nothing_of_the_token() -> None:
    entry = capture.token_entry(GET, URL, {"content-type": "application/json", "etag": "secret"})
    assert (entry.stand_in, entry.sha256, entry.headers) == ("token", None, (("content-type", "application/json"),))
    assert problems(entry) == []


@pytest.mark.parametrize("value", ["a\x01b", "a\x7fb", "\x1b[2J"])
def test_a_value_that_no_snapshot_may_hold_is_left_out(value: str) -> None:
    entry = capture.entry_for(GET, URL, 200, {"etag": value, "content-type": "a/b"}, sha256="a" * 64, size=0)
    assert entry.headers == (("content-type", "a/b"),)
    assert problems(entry) == []


def test_a_length_beyond_all_bodies_is_left_out() -> None:
    entry = capture.entry_for(Request("HEAD", GET.target), URL, 200, {"content-length": "9" * 18})
    assert entry.size is None
    assert problems(entry) == []


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("Bearer\t realm=a", "Bearer realm=a"),
        ("Bearer\t", "Bearer"),
        ("Basic", "Basic"),
        (" ", ""),
    ],
)
def test_white_space_in_a_challenge_is_white_space(value: str, kept: str) -> None:
    assert capture.challenge_without_tokens(value) == kept

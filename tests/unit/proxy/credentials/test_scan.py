"""A secret does not come back: in no usual spelling, however the answer is cut into pieces."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.credentials.scan import SecretFoundError, SecretScanner, contains, spellings

SECRET = b"s3cr3t/+&\"tok'en=="


@pytest.mark.parametrize(
    "reflected",
    [
        SECRET,
        b"Bearer " + SECRET + b"\r\n",
        quote(SECRET).encode(),
        quote(SECRET, safe="").encode(),
        quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d").encode(),
        SECRET.hex().encode(),
        SECRET.hex().upper().encode(),
        base64.b64encode(SECRET),
        base64.urlsafe_b64encode(SECRET).rstrip(b"="),
        base64.b64encode(b"user:" + SECRET),
        base64.b64encode(b"user2:" + SECRET + b" and more"),
        base64.b64encode(b"user22:" + SECRET + b"!"),
        json.dumps({"you sent": SECRET.decode()}).encode(),
        json.dumps({"you sent": SECRET.decode()}).replace("/", "\\/").encode(),
        html.escape(SECRET.decode()).encode(),
    ],
)
def test_a_reflected_secret_is_found(reflected: bytes) -> None:
    needles = spellings(SECRET)
    body = b"x" * 100 + reflected + b"y" * 100
    assert contains(body, needles)
    for cut in (1, 7, 64, 1000):
        scanner, passed = SecretScanner(needles), b""
        message = ""
        for start in range(0, len(body), cut):
            try:
                passed += scanner.feed(body[start : start + cut])
            except SecretFoundError as error:
                message = str(error)
                break
        assert message == "the answer contains the secret that was sent for it"
        assert not contains(passed, needles)
        assert body.startswith(passed)


def test_nothing_of_the_secret_has_left_when_it_is_found() -> None:
    scanner = SecretScanner([b"secret-value"])
    assert b"".join(scanner.feed(bytes([octet])) for octet in b"before secret-valu") == b"before "
    with pytest.raises(SecretFoundError):
        scanner.feed(b"e")
    for call in (lambda: scanner.feed(b"after"), scanner.finish):
        with pytest.raises(SecretFoundError):
            call()


def test_only_a_beginning_of_a_secret_is_held_back() -> None:
    scanner = SecretScanner([b"secret-value"])
    assert scanner.feed(b"data: 1\n\n") == b"data: 1\n\n"
    assert scanner.feed(b"a sec") == b"a "
    assert scanner.feed(b"ond") == b"second"
    assert scanner.feed(b"s") == b""
    assert scanner.finish() == b"s"
    assert scanner.finish() == b""


def test_without_secrets_everything_passes() -> None:
    scanner = SecretScanner([])
    assert scanner.feed(b"x") == b"x"
    assert scanner.finish() == b""


def test_the_repr_of_a_scanner_shows_nothing() -> None:
    assert "secret" not in repr(SecretScanner([b"secret-value"]))


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"aab", b"aa", b"ab"]), max_size=8))
def test_what_passes_is_what_came_and_a_secret_is_found_if_it_is_there(chunks: list[bytes]) -> None:
    needles = (b"aaab", b"\x00\xff.", b"aab|")
    scanner, body, passed = SecretScanner(needles), b"".join(chunks), b""
    try:
        for chunk in chunks:
            passed += scanner.feed(chunk)
        passed += scanner.finish()
    except SecretFoundError:
        assert contains(body, needles)
        assert not contains(passed, needles)
    else:
        assert passed == body
        assert not contains(body, needles)


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40),
    st.binary(max_size=7),
    st.binary(max_size=7),
)
def test_base64_of_any_text_around_any_secret_is_found(secret: str, before: bytes, after: bytes) -> None:
    needles = spellings(secret.encode())
    text = before + secret.encode() + after
    assert contains(base64.b64encode(text), needles)
    assert contains(base64.urlsafe_b64encode(text), needles)
    assert contains(quote(secret, safe="").encode(), needles)
    assert contains(json.dumps(secret).encode(), needles)

"""A body's key is what it says, however it is packed; unpacking is bounded and secrets stay out of it."""

from __future__ import annotations

import gzip
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.request.body import BodyTooLargeError, body_digest

GIT = "application/x-git-upload-pack-request"
FORM = "application/x-www-form-urlencoded"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def test_no_body_has_no_digest() -> None:
    assert body_digest(GIT, "gzip", b"") is None


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        (None, b"question"),
        ("identity", b"question"),
        ("gzip", gzip.compress(b"question")),
        ("GZIP ", gzip.compress(b"question", 1)),
        ("x-gzip", gzip.compress(b"ques") + gzip.compress(b"tion")),
        ("deflate", zlib.compress(b"question")),
        ("deflate", raw_deflate(b"question")),
    ],
)
def test_a_packed_body_has_the_key_of_the_plain_one(encoding: str | None, raw: bytes) -> None:
    assert body_digest("text/plain", encoding, raw) == digest(b"question")


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        ("gzip", b"question"),
        ("gzip", gzip.compress(b"question")[:-4]),
        ("gzip", gzip.compress(b"question") + b"trailing"),
        ("gzip", gzip.compress(b"") * 1000),
        ("deflate", zlib.compress(b"question") + b"trailing"),
        ("br", b"question"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"question"))),
    ],
)
def test_a_body_that_cannot_be_unpacked_counts_as_it_is(encoding: str, raw: bytes) -> None:
    assert body_digest("text/plain", encoding, raw) == digest(raw)


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        (None, b"a" * 101),
        ("gzip", gzip.compress(b"a" * 101)),
        ("gzip", gzip.compress(b"a" * 60) * 2),
        ("deflate", raw_deflate(b"a" * 101)),
        ("gzip", gzip.compress(b"\0" * 10_000_000)[:100]),
    ],
)
def test_a_body_over_the_limit_is_refused_sent_or_unpacked(encoding: str | None, raw: bytes) -> None:
    with pytest.raises(BodyTooLargeError):
        body_digest("text/plain", encoding, raw, limit=100)


def test_a_body_of_just_the_limit_is_taken() -> None:
    assert body_digest("text/plain", "gzip", gzip.compress(b"a" * 100), limit=100) == digest(b"a" * 100)


def test_git_is_normalised_after_unpacking_and_only_for_upload_pack() -> None:
    asked = b"0014command=ls-refs\n0012agent=git/2.4x0000"
    plain = b"0014command=ls-refs\n0000"
    assert body_digest(GIT, "gzip", gzip.compress(asked)) == digest(plain)
    assert body_digest(GIT + "; charset=utf-8", None, asked) == digest(plain)
    assert body_digest("application/octet-stream", None, asked) == digest(asked)


@pytest.mark.parametrize(
    "name", [b"password", b"PASSWORD", b"pass%77ord", b"refresh_token", b"client_secret", b"access_token"]
)
def test_the_key_of_a_form_does_not_depend_on_a_secret(name: bytes) -> None:
    one, other = (body_digest(FORM, None, b"user=me&" + name + b"=" + value) for value in (b"hunter2", b"hunter3"))
    assert one == other
    assert body_digest(FORM, None, b"user=you&" + name + b"=hunter2") != one


@given(st.binary(max_size=200), st.sampled_from([None, "gzip", "deflate", "br"]), st.sampled_from([None, GIT, FORM]))
def test_any_body_has_a_digest(raw: bytes, encoding: str | None, content_type: str | None) -> None:
    found = body_digest(content_type, encoding, raw)
    assert (found is None) == (not raw)
    assert found == body_digest(content_type, encoding, raw)

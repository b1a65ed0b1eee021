"""Tests that bodies end where they say, however the bytes are cut, and that nothing else is taken for a body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermit_proxy.recorder.head import BadHeadError
from hermit_proxy.replayer.body import BodyReader, ChunkedReader, LengthReader


def read(reader: BodyReader, octets: bytes, cuts: int = 1) -> tuple[bytes, bytes, bool]:
    """Feed bytes in pieces; give the body, what is left and whether it is complete."""
    buffer, body, done = bytearray(), bytearray(), False
    pieces = [octets[start : start + cuts] for start in range(0, len(octets), cuts)]
    for piece in pieces:
        buffer += piece
        done = done or reader.read(buffer, body.extend)
    return bytes(body), bytes(buffer), done


@given(st.binary(max_size=200), st.binary(max_size=50), st.integers(1, 300))
def test_a_length_is_kept_to_the_byte(body: bytes, rest: bytes, cuts: int) -> None:
    got, left, done = read(LengthReader(len(body)), body + rest, cuts)
    assert (got, left) == (body, rest)
    assert done or not body + rest


@given(st.lists(st.binary(min_size=1, max_size=50)), st.binary(max_size=50), st.integers(1, 300), st.booleans())
def test_chunks_are_put_together_and_what_follows_is_left(
    chunks: list[bytes], rest: bytes, cuts: int, trailers: bool
) -> None:
    octets = b"".join(b"%X;name=value\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    end = b"000\r\nX-Trailer: a\r\n\r\n" if trailers else b"0\r\n\r\n"
    assert read(ChunkedReader(), octets + end + rest, cuts) == (b"".join(chunks), rest, True)


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1), st.integers(1, 20))
def test_an_unfinished_body_is_waited_for(chunks: list[bytes], missing: int) -> None:
    octets = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    assert not read(ChunkedReader(), octets[: -min(missing, len(octets) - 1)])[2]


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n", b"x\r\n", b"-1\r\n", b"+1\r\na\r\n", b"0x1\r\na\r\n", b" 1\r\na\r\n", b"1 \r\na\r\n", b"1_0\r\n",
        b"1\na\r\n0\r\n\r\n", b"1\r\nab\r\n", b"1\r\na\n0\r\n\r\n", b"1\r\na0\r\n\r\n", b"\r\n1\r\na\r\n",
        b"ffffffffffffffff\r\n", b"1" * 2000, b"1;" + b"x" * 2000, b"0\r\nno colon\r\n\r\n", b"0\r\n: x\r\n\r\n",
        b"0\r\nX: y\n\r\n", b"0\r\n X: folded\r\n\r\n", b"0\r\n" + b"X: yyyyyyyy\r\n" * 1000, b"0\r\nX: a\0b\r\n\r\n",
        b"0\r\nX: a\x0c\r\n\r\n", b"1;\x01\r\na\r\n0\r\n\r\n",
        b"0\r\nTransfer-Encoding: identity\r\n\r\n", b"0\r\ncontent-length: 5\r\n\r\n", b"0\r\nHost: a\r\n\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("cuts", [1, 10_000])
def test_what_is_no_chunk_is_refused(octets: bytes, cuts: int) -> None:
    with pytest.raises(BadHeadError):
        read(ChunkedReader(), octets, cuts)


@given(st.binary(max_size=300), st.integers(1, 300))
def test_no_bytes_are_invented(octets: bytes, cuts: int) -> None:
    try:
        body, left, _ = read(ChunkedReader(), octets, cuts)
    except BadHeadError:
        return
    assert len(body) + len(left) <= len(octets)

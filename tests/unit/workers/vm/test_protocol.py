"""Reads what a guest says: cut anywhere, lying anyhow, and never more of it kept than one frame."""

from __future__ import annotations

import contextlib
import struct
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermit_workers.cell import CellError, Command
from hermit_workers.vm import protocol
from hermit_workers.vm.protocol import GREETING, MOST_ORDER, MOST_PAYLOAD, Order, Parser, ProtocolError, Said, Word

HELLO = protocol.frame(Word.HELLO, 0, GREETING)
TALK = [
    Said(Word.HELLO, 0, GREETING),
    Said(Word.OUTPUT, 1, b"x" * MOST_PAYLOAD),
    Said(Word.EXITED, 1, b"\0"),
    Said(Word.CLOSED, 1),
    Said(Word.FAILED, 4294967295, b"no such folder"),
    Said(Word.CLEARED, 0),
    Said(Word.EXCEEDED, 0, b"m"),
    Said(Word.LEASED, 0),
    Said(Word.LEASED, 0, b"clock_settime: no"),
]


def encoded(talk: list[Said]) -> bytes:
    return b"".join(protocol.frame(one.word, one.number, one.payload) for one in talk)


def command(folder: str = "/build", **variables: str) -> Command:
    return Command(("unused",), variables, PurePosixPath(folder))


@pytest.mark.parametrize("size", [1, 2, 9, 10, 1000, 1 << 20])
def test_what_is_said_is_read_however_it_is_cut(size: int) -> None:
    data, parser = encoded(TALK), Parser()
    found = [one for at in range(0, len(data), size) for one in parser.feed(data[at : at + size])]
    assert found == TALK
    assert not parser.within


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\0" * 9, "0, which is no word"),
        (protocol.frame(Order.RUN, 1, b"x"), "1, which is no word"),
        (b"\xff" * 9, "255, which is no word"),
        (protocol.frame(Word.OUTPUT, 1, b"x"), "OUTPUT before its greeting"),
        (protocol.frame(Word.HELLO, 0, b"hermit-agent 2"), "expected b'hermit-agent 1'"),
        (protocol.frame(Word.HELLO, 0, b"hello"), "with 5 bytes; expected 14 to 14"),
        (protocol.frame(Word.HELLO, 7, GREETING), "HELLO of the command 7"),
        (HELLO + HELLO, "HELLO again"),
        (HELLO + protocol.frame(Word.CLEARED, 7), "CLEARED of the command 7"),
        (HELLO + protocol.frame(Word.CLEARED, 0, b"x"), "with 1 bytes; expected 0 to 0"),
        (HELLO + protocol.frame(Word.EXCEEDED, 0), "with 0 bytes; expected 1 to 1"),
        (HELLO + protocol.frame(Word.EXCEEDED, 1, b"m"), "EXCEEDED of the command 1"),
        (HELLO + protocol.frame(Word.LEASED, 0, b"x" * 1001), "with 1001 bytes"),
        (HELLO + protocol.frame(Word.OUTPUT, 0, b"x"), "OUTPUT of the command 0"),
        (HELLO + protocol.frame(Word.OUTPUT, 1), "with 0 bytes; expected 1 to"),
        (HELLO + protocol.frame(Word.EXITED, 1), "with 0 bytes; expected 1 to 1"),
        (HELLO + protocol.frame(Word.EXITED, 1, b"\0\0"), "with 2 bytes"),
        (HELLO + protocol.frame(Word.FAILED, 1, b"x" * 1001), "with 1001 bytes"),
        # The head alone is enough: nobody waits for, or makes room for, what it promises.
        (HELLO + struct.pack("!BII", Word.OUTPUT, 1, MOST_PAYLOAD + 1), f"with {MOST_PAYLOAD + 1} bytes"),
        (HELLO + struct.pack("!BII", Word.OUTPUT, 1, 4294967295), "with 4294967295 bytes"),
    ],
)
def test_what_no_agent_says_is_refused_and_nothing_is_read_after_it(data: bytes, why: str) -> None:
    parser = Parser()
    with pytest.raises(ProtocolError, match=why):
        parser.feed(data)
    with pytest.raises(ProtocolError):
        parser.feed(encoded(TALK))
    assert not parser.within


@given(st.lists(st.binary(max_size=300), max_size=8), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_frames_or_refused_and_no_more_than_one_frame_is_kept(pieces: list[bytes], greeted: bool) -> None:
    parser = Parser()
    with contextlib.suppress(ProtocolError):
        for piece in [HELLO, *pieces] if greeted else pieces:
            for said in parser.feed(piece):
                assert len(said.payload) <= MOST_PAYLOAD
                assert protocol.frame(said.word, said.number, said.payload)
    assert len(parser._data) <= MOST_PAYLOAD + 9


@given(
    st.lists(
        st.one_of(
            st.builds(Said, st.just(Word.OUTPUT), st.integers(1, 2**32 - 1), st.binary(min_size=1, max_size=400)),
            st.builds(Said, st.just(Word.EXITED), st.integers(1, 2**32 - 1), st.binary(min_size=1, max_size=1)),
            st.builds(Said, st.just(Word.CLOSED), st.integers(1, 2**32 - 1)),
        ),
        max_size=6,
    ),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_one_changed_byte_never_makes_more_frames_than_there_were_bytes_for(
    talk: list[Said], data: st.DataObject
) -> None:
    sent = bytearray(encoded([TALK[0], *talk]))
    at = data.draw(st.integers(0, len(sent) - 1))
    sent[at] ^= data.draw(st.integers(1, 255))
    parser, found = Parser(), []
    with contextlib.suppress(ProtocolError):
        found = parser.feed(bytes(sent))
    assert len(encoded(found)) + len(parser._data) <= len(sent)


def test_an_order_to_run_has_folder_input_variables_and_words() -> None:
    order = protocol.run(3, command(B="2", A="1 =\n"), ["sh", "-c", ""], stdin=True)
    assert struct.unpack("!BII", order[:9]) == (Order.RUN, 3, len(order) - 9)
    assert order[9:] == b"/build\x001\x002\0A=1 =\n\0B=2\0sh\0-c\0\0"
    assert protocol.run(3, command(), ["true"], stdin=False)[9:] == b"/build\x000\x000\0true\0"
    assert protocol.run(3, command(), ["\udcff"], stdin=False).endswith(b"\xff\0")


@pytest.mark.parametrize(
    ("made", "argv", "why"),
    [
        (command(), [], "no words"),
        (command(), [""], "no words"),
        (command(), ["a\0b"], "zero byte"),
        (command("/a\0b"), ["true"], "zero byte"),
        (command(A="\0"), ["true"], "zero byte"),
        (Command(("x",), {"A=B": "c"}, PurePosixPath("/")), ["true"], "`=`"),
        (Command(("x",), {"": "c"}, PurePosixPath("/")), ["true"], "empty"),
        (command(), ["true", "x" * MOST_ORDER], "get to a VM"),
    ],
)
def test_what_no_program_could_get_is_no_order(made: Command, argv: list[str], why: str) -> None:
    with pytest.raises(CellError, match=why):
        protocol.run(1, made, argv, stdin=False)


def test_orders_name_one_command_or_the_machine() -> None:
    assert protocol.feed(1, b"ab")[9:] == b"ab"
    assert protocol.signal(1, 15)[9:] == b"\x0f"
    assert protocol.clear() == struct.pack("!BII", Order.CLEAR, 0, 0)
    for wrong in (0, -1, 1 << 32):
        with pytest.raises(ValueError, match="number"):
            protocol.signal(wrong, 15)
    with pytest.raises(ValueError, match="at once"):
        protocol.feed(1, bytes(MOST_PAYLOAD + 1))

"""Fuzzes what a VM's agent says: however it is cut, it is the same frames or the same refusal, and no more is kept."""

from __future__ import annotations

from hermit_workers.vm import protocol
from hermit_workers.vm.protocol import GREETING, MOST_PAYLOAD, Parser, ProtocolError, Said, Word
from tests.fuzz.case import Case, pieces

_HEAD = 9


def guest(data: bytes) -> bool:
    """Read octets behind a first one that says how they are cut; true where all of them were frames."""
    how, said = data[0] if data else 0, data[1:]
    whole, cut = _read([said]), _read(pieces(said, how))
    assert whole == cut
    frames, broken, within = whole
    # What was read is what was written, letter by letter, and the rest is less than one frame.
    again = b"".join(protocol.frame(one.word, one.number, one.payload) for one in frames)
    assert said.startswith(again)
    assert broken or within == (len(said) > len(again))
    assert broken or len(said) - len(again) < _HEAD + MOST_PAYLOAD
    for place, one in enumerate(frames):
        assert (one.word is Word.HELLO) == (place == 0)
        assert one.word is not Word.EXITED or len(one.payload) == 1
    return bool(frames) and not broken


def _read(given: list[bytes]) -> tuple[list[Said], bool, bool]:
    """Give the frames before a refusal, whether there was one, and whether a frame has begun."""
    parser = Parser()
    found: list[Said] = []
    for piece in given:
        try:
            found += parser.feed(piece)
        except ProtocolError:
            return _before(b"".join(given)), True, parser.within
    return found, False, parser.within


def _before(data: bytes) -> list[Said]:
    parser = Parser()
    found: list[Said] = []
    for octet in data:
        try:
            found += parser.feed(bytes([octet]))
        except ProtocolError:
            return found
    raise AssertionError("refused in pieces, and not octet by octet")


_HELLO = protocol.frame(Word.HELLO, 0, GREETING)

CASES = (
    Case(
        "guest",
        guest,
        [
            b"\0" + _HELLO,
            b"\x01" + _HELLO + protocol.frame(Word.OUTPUT, 1, b"said\n") + protocol.frame(Word.EXITED, 1, b"\0"),
            b"\x05" + _HELLO + protocol.frame(Word.CLOSED, 1) + protocol.frame(Word.CLEARED, 0),
            b"\x40" + _HELLO + protocol.frame(Word.EXCEEDED, 0, b"m") + protocol.frame(Word.LEASED, 0, b"no"),
            b"\x80" + _HELLO + protocol.frame(Word.FAILED, 2, b"/no: No such file"),
            b"\0" + _HELLO + protocol.frame(Word.OUTPUT, 1, b"x") * 3 + b"\x11",
        ],
        (_HELLO, *(bytes([word]) for word in Word), b"\0\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff"),
    ),
)

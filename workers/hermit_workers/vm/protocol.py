"""Is what the host and a VM's agent say to each other: frames on one stream, read as if the guest were lying."""

# Every frame is a kind (one byte), the number of the command that it is about (four bytes; 0: the machine's), the
# payload's length (four bytes), and the payload; numbers are big-endian. guest/agent.pl is the other end.
#
# What the guest says is read here and nowhere else. Nothing is kept of it beyond one frame, and a frame has a size
# that no guest chooses: so a guest that lies can end its own build, and that is all.

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from hermit_workers.cell import CellError, Command

GREETING = b"hermit-agent 1"
MOST_PAYLOAD = 1 << 16  # of what a guest says
MOST_ORDER = 1 << 20  # of a command's words and variables together
_MOST_REASON = 1000
_HEAD = struct.Struct("!BII")
_LAST_NUMBER = (1 << 32) - 1
_LEASE = struct.Struct("!Q")


class ProtocolError(CellError):
    """Is raised for what no agent says: the guest is broken or hostile, and its cell is over."""


class Order(IntEnum):
    """Is what the host says."""

    RUN = 1
    INPUT = 2  # what the command reads; nothing is its end
    SIGNAL = 3
    CLEAR = 4  # end every process but the agent
    LEASE = 5  # the build begins: its time, and bytes of chance


class Word(IntEnum):
    """Is what the guest says."""

    HELLO = 16
    OUTPUT = 17
    CLOSED = 18  # nobody has the command's output open any more
    EXITED = 19  # its status, one byte, as a shell tells it
    FAILED = 20  # it was not started: why, as text
    CLEARED = 21
    EXCEEDED = 22  # the kernel has kept a limit, which as one letter
    LEASED = 23  # nothing, or why not, as text


# The sizes that a payload may have, by kind.
_SIZES = {
    Word.HELLO: (len(GREETING), len(GREETING)),
    Word.OUTPUT: (1, MOST_PAYLOAD),
    Word.CLOSED: (0, 0),
    Word.EXITED: (1, 1),
    Word.FAILED: (1, _MOST_REASON),
    Word.CLEARED: (0, 0),
    Word.EXCEEDED: (1, 1),
    Word.LEASED: (0, _MOST_REASON),
}
_OF_THE_MACHINE = {Word.HELLO, Word.CLEARED, Word.EXCEEDED, Word.LEASED, Order.CLEAR, Order.LEASE}
_Kind = TypeVar("_Kind", Order, Word)


@dataclass(frozen=True, slots=True)
class Said:
    """Is one frame of the guest's: `number` is a command's, or 0 where it is about the machine."""

    word: Word
    number: int
    payload: bytes = b""


class Parser:
    """Reads frames from pieces of a stream, however they are cut; after a ProtocolError there is nothing more to read.

    States: greeting (only HELLO may come) -> talking -> broken.
    """

    def __init__(self) -> None:
        """Begin before the greeting."""
        self._data = bytearray()
        self._greeted = False
        self._broken = False

    def feed(self, data: bytes) -> list[Said]:
        """Give the frames that are whole now; raise ProtocolError for what is none, and what came with it is lost.

        No more is kept than one frame that is not whole yet.
        """
        if self._broken:
            raise ProtocolError("the VM's agent has said what no agent says")
        self._data += data
        found = []
        try:
            while (said := self._next()) is not None:
                found.append(said)
        except ProtocolError:
            self._broken = True
            self._data.clear()
            raise
        return found

    @property
    def within(self) -> bool:
        """Tell whether a frame has begun and not ended: a stream that ends then was cut."""
        return bool(self._data)

    def _next(self) -> Said | None:
        if len(self._data) < _HEAD.size:
            return None
        kind, number, length = _HEAD.unpack_from(self._data)
        word = self._judged(kind, number, length)
        end = _HEAD.size + length
        if len(self._data) < end:
            return None
        payload = bytes(self._data[_HEAD.size : end])
        del self._data[:end]
        if word is Word.HELLO and payload != GREETING:
            raise ProtocolError(f"the VM's agent greets with {payload!r}; expected {GREETING!r}")
        self._greeted = True
        return Said(word, number, payload)

    def _judged(self, kind: int, number: int, length: int) -> Word:
        """Give the kind of a frame by its head alone: what is wrong here has no payload that anybody waits for."""
        try:
            word = Word(kind)
        except ValueError:
            raise ProtocolError(f"the VM's agent says {kind}, which is no word of its language") from None
        if (word is Word.HELLO) == self._greeted:
            raise ProtocolError(
                f"the VM's agent says {word.name} {'again' if self._greeted else 'before its greeting'}"
            )
        if (word in _OF_THE_MACHINE) != (number == 0):
            raise ProtocolError(f"the VM's agent says {word.name} of the command {number}")
        least, most = _SIZES[word]
        if not least <= length <= most:
            raise ProtocolError(f"the VM's agent says {word.name} with {length} bytes; expected {least} to {most}")
        return word


def run(number: int, command: Command, argv: Sequence[str], *, stdin: bool) -> bytes:
    """Give the order to run `argv` with a command's environment and folder; raise CellError for what no exec takes.

    Without `stdin` it reads nothing. A number is given once.
    """
    if not argv or not argv[0]:
        raise CellError("a command has no words")
    variables = [f"{name}={value}" for name, value in sorted(command.environment.items())]
    if any("=" in name or not name for name in command.environment):
        raise CellError("a variable's name is empty or has a `=` in it")
    words = [str(command.folder), "1" if stdin else "0", str(len(variables)), *variables, *argv]
    encoded = [word.encode("utf-8", "surrogateescape") for word in words]
    if any(b"\0" in word for word in encoded):
        raise CellError(f"a word, variable or folder of {argv[0]!r} has a zero byte, which no program can get")
    payload = b"".join(word + b"\0" for word in encoded)
    if len(payload) > MOST_ORDER:
        told = f"{len(payload):,} bytes of words and variables; at most {MOST_ORDER:,} get to a VM"
        raise CellError(f"{argv[0]!r} has {told}", hint="put them into a file")
    return _frame(Order.RUN, number, payload)


def feed(number: int, data: bytes) -> bytes:
    """Give the order to let a command read this; nothing is the end of what it reads."""
    if len(data) > MOST_PAYLOAD:
        raise ValueError(f"at most {MOST_PAYLOAD} bytes at once")
    return _frame(Order.INPUT, number, data)


def signal(number: int, which: int) -> bytes:
    """Give the order to send a signal to a command."""
    return _frame(Order.SIGNAL, number, bytes([which]))


def clear() -> bytes:
    """Give the order to end every process but the agent."""
    return _frame(Order.CLEAR, 0, b"")


def lease(clock: int, chance: bytes) -> bytes:
    """Give the order to set the clock (seconds since the epoch) and to stir in what nobody else knows."""
    return _frame(Order.LEASE, 0, _LEASE.pack(clock) + chance)


def frame(kind: _Kind, number: int, payload: bytes = b"") -> bytes:
    """Give a frame as it is on the wire, right or wrong: for the two above, and for who tries the parser."""
    return _HEAD.pack(kind, number, len(payload)) + payload


def _frame(order: Order, number: int, payload: bytes) -> bytes:
    if not 0 <= number <= _LAST_NUMBER or (order in _OF_THE_MACHINE) != (number == 0):
        raise ValueError(f"no command has the number {number}")
    return frame(order, number, payload)

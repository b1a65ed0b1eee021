"""A packet is carried whole and in order, and never before its time."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import carrier
import pytest

SECONDS = 0.05
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[tuple[Pair, Pair]]:
    """Give two pairs that keep packets apart, as devices do: one end is the carrier's, which never blocks."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    for ours, theirs in pairs:
        ours.settimeout(30)
        theirs.setblocking(False)
    yield pairs[0], pairs[1]
    for pair in pairs:
        for end in pair:
            end.close()


def test_what_is_not_due_stays_and_what_is_due_goes_in_order(ends: tuple[Pair, Pair]) -> None:
    (near, source), (far, target) = ends
    line = carrier.Line(source.fileno(), target.fileno(), 3600)
    near.send(b"first")
    line.take()
    line.give()
    assert line.due is not None
    assert line.due > time.monotonic() + 3000
    assert select.select([far], [], [], 0)[0] == []
    line = carrier.Line(source.fileno(), target.fileno(), 0)
    for packet in (b"second", b"third"):
        near.send(packet)
    line.take()
    line.give()
    assert [far.recv(10), far.recv(10)] == [b"second", b"third"]
    assert line.due is None


def test_a_packet_that_a_device_cannot_take_is_lost_and_the_next_one_is_not(ends: tuple[Pair, Pair]) -> None:
    (near, source), (far, target) = ends
    line = carrier.Line(source.fileno(), target.fileno(), 0)
    while True:  # until there is no room
        try:
            target.send(b"full")
        except BlockingIOError:
            break
    near.send(b"lost")
    line.take()
    line.give()
    assert line.due is None
    assert far.recv(10) == b"full"
    near.send(b"next")
    line.take()
    line.give()
    while (packet := far.recv(10)) == b"full":
        pass
    assert packet == b"next"


HEAD = bytes(10)


def packet(protocol: int, source: int, target: int, options: bytes = b"") -> bytes:
    """Make the start of an IPv4 packet, behind the head that a device puts before it."""
    first = bytes([0x45 + len(options) // 4]) + bytes(8) + bytes([protocol]) + bytes(10) + options
    return HEAD + first + source.to_bytes(2) + target.to_bytes(2) + bytes(4)


@pytest.mark.parametrize(
    ("data", "question"),
    [
        (packet(17, 40000, 53), True),
        (packet(17, 53, 40000), True),
        (packet(17, 40000, 53, bytes(8)), True),
        (packet(17, 40000, 443), False),
        (packet(17, 443, 40000, b"\0\x35\0\x35"), False),
        (packet(6, 40000, 53), False),
        (HEAD + b"\x60" + packet(17, 40000, 53)[11:], False),
        (HEAD + b"\x45", False),
        (b"", False),
    ],
)
def test_what_is_asked_of_a_resolver_is_known_by_its_port(data: bytes, question: bool) -> None:
    assert carrier.is_question(data) == question


def test_questions_are_not_held(ends: tuple[Pair, Pair]) -> None:
    (near, source), (far, target) = ends
    line = carrier.Line(source.fileno(), target.fileno(), 3600)
    near.send(packet(6, 40000, 443))
    near.send(packet(17, 40000, 53))
    line.take()
    assert far.recv(100) == packet(17, 40000, 53)
    assert line.due is not None


def test_the_program_holds_packets_both_ways_and_ends_with_its_input(ends: tuple[Pair, Pair]) -> None:
    (near, one), (far, other) = ends
    files = (one.fileno(), other.fileno())
    command = [sys.executable, carrier.__file__, *map(str, files), str(SECONDS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=files) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for sender, receiver in ((near, far), (far, near)):
            begin = time.monotonic()
            packets = [os.urandom(1400) for _ in range(5)]
            for packet in packets:
                sender.send(packet)
            got = [receiver.recv(2000)]
            assert time.monotonic() - begin >= SECONDS
            assert got + [receiver.recv(2000) for _ in packets[1:]] == packets
        process.stdin.close()
        assert process.wait(30) == 0

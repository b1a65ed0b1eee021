"""Carries packets between two tun devices and holds each of them for a while: a distance where the kernel has no netem.

    carrier.py ONE OTHER SECONDS

`ONE` and `OTHER` are file descriptors of the devices. It ends when its standard input does. Questions to the resolver
and its answers are not held: machines have one that is near, and remembers.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections import deque

_PACKET = (1 << 16) + 64  # bytes: the largest packet that is not yet cut, and its head for the device
_AT_ONCE = 64  # packets of one direction, before what is due goes out
_HEAD = 10  # bytes before a packet: virtio_net_hdr
_UDP, _DOMAIN = 17, 53


class Line:
    """Is one direction: what was read from one device waits here until it may be written to the other."""

    def __init__(self, source: int, target: int, seconds: float) -> None:
        """Take both devices, which do not block, and how long a packet is held."""
        self.source = source
        self._target = target
        self._seconds = seconds
        self._held: deque[tuple[float, bytes]] = deque()

    @property
    def due(self) -> float | None:
        """Give the time of `time.monotonic` at which the next packet may go; None where there is none."""
        return self._held[0][0] if self._held else None

    def take(self) -> None:
        """Read what has come, as much as is fair to the other direction."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                packet = os.read(self.source, _PACKET)
                if is_question(packet):
                    self._write(packet)
                else:
                    self._held.append((time.monotonic() + self._seconds, packet))

    def give(self) -> None:
        """Write what is due."""
        now = time.monotonic()
        while self._held and self._held[0][0] <= now:
            self._write(self._held.popleft()[1])

    def _write(self, packet: bytes) -> None:
        # A device that cannot take a packet loses it, as networks do; TCP sends it again.
        with contextlib.suppress(OSError):
            os.write(self._target, packet)


def is_question(packet: bytes) -> bool:
    """Tell whether a packet is IPv4 and UDP (RFC 791, RFC 768) from or to the port of resolvers."""
    if len(packet) < _HEAD + 20 or packet[_HEAD] >> 4 != 4 or packet[_HEAD + 9] != _UDP:  # noqa: PLR2004  IPv4's head
        return False
    ports = _HEAD + (packet[_HEAD] & 15) * 4
    return _DOMAIN in {int.from_bytes(packet[ports : ports + 2]), int.from_bytes(packet[ports + 2 : ports + 4])}


def carry(one: int, other: int, seconds: float, until: int) -> None:
    """Carry packets both ways until there is something to read at `until`, its end included."""
    lines = {one: Line(one, other, seconds), other: Line(other, one, seconds)}
    while True:
        dues = [line.due for line in lines.values() if line.due is not None]
        wait = max(0.0, min(dues) - time.monotonic()) if dues else None
        # epoll(7) counts in milliseconds, select(2) in microseconds.
        ready, _, _ = select.select([*lines, until], [], [], wait)
        if until in ready:
            return
        for source in ready:
            lines[source].take()
        for line in lines.values():
            line.give()


def main() -> int:
    """Carry until the standard input ends, before all others where the kernel lets it: it hardly ever runs."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    one, other, seconds = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry(int(one), int(other), float(seconds), sys.stdin.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())

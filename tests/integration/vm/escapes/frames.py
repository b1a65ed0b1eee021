"""Says what an Ethernet frame is about, in words that a test compares."""

from __future__ import annotations

import socket
import struct

_IP, _ARP, _TCP = 0x0800, 0x0806, 6


def summary(frame: bytes) -> str:
    """Give the kind of a frame, and who says it to whom; ports of TCP are the sender's."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == _ARP:
        (what,) = struct.unpack_from("!H", frame, 20)
        return f"arp {what} {socket.inet_ntoa(frame[28:32])}"
    if kind != _IP:
        return f"kind {kind:04x}"
    source, target = (socket.inet_ntoa(frame[at : at + 4]) for at in (26, 30))
    rest = frame[14 + 4 * (frame[14] & 15) :]
    port = f" from {struct.unpack_from('!H', rest)[0]}" if frame[23] == _TCP else ""
    return f"ip {frame[23]} {source} {target}{port}"

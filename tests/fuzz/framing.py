"""Reads a client's bytes with h11, as the other party of the differential: where h11 sees no request, we must not."""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

_HIGH = re.compile(rb"[\x80-\xff]")
_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Heard:
    """Is a whole request as h11 reads it; `rest` is what follows it."""

    method: bytes
    target: bytes
    host: bytes
    version: bytes
    body: bytes
    trailers: bool
    rest: bytes


def heard(stream: bytes, *, skip_lines: bool = False) -> list[Heard]:
    """Read requests until h11 refuses or the bytes end; a CONNECT is the last one, what follows it is another protocol.

    Three things are ours on purpose, so h11 gets them in its own way: raw octets above 127 in a target are escaped
    (clients send them), a CONNECT may lack its Host (Python before 3.12), and with `skip_lines` empty lines before
    a request are passed over (RFC 9112 section 2.2).
    """
    found: list[Heard] = []
    while stream:
        while skip_lines and stream.startswith(b"\r\n"):
            stream = stream[2:]
        one = _one(stream)
        if one is None:
            break
        found.append(one)
        if one.method == b"CONNECT":
            break
        stream = one.rest
    return found


def _one(stream: bytes) -> Heard | None:
    line, end, rest = stream.partition(b"\r\n")
    line = _HIGH.sub(lambda octet: b"%%%02X" % ord(octet.group()), line)
    head = b"" if rest.startswith(b"\r\n") else rest.partition(b"\r\n\r\n")[0]
    if line.startswith(b"CONNECT ") and not re.search(rb"(?im)^host:", head):
        end += b"Host: none\r\n"
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX)
    body = b""
    request: h11.Request | None = None
    try:
        connection.receive_data(line + end + rest)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return Heard(
                    request.method,
                    request.target,
                    next((value for name, value in request.headers if name == b"host"), b""),
                    request.http_version,
                    body,
                    bool(list(event.headers)),
                    connection.trailing_data[0],
                )
            else:
                return None
    except h11.RemoteProtocolError:
        return None

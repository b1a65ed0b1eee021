"""Reads git's pkt-lines, because two clients that want the same pack do not send the same bytes (WIRE rows 1-4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

UPLOAD_PACK_REQUEST = "application/x-git-upload-pack-request"
UPLOAD_PACK_RESULT = "application/x-git-upload-pack-result"

_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_HEADER = 4
_MAX_PACKET = 65520  # gitprotocol-common: the longest pkt-line, its four length digits included
_BANDS = (1, 2, 3)
_DATA, _PROGRESS, _FATAL = _BANDS
# They name the client and the connection, never what is wanted (gitprotocol-v2, gitprotocol-capabilities).
_IDLE_CAPABILITIES = (b"agent=", b"session-id=")


class NotPacketsError(ValueError):
    """Is raised where bytes are not a whole number of pkt-lines."""


def packets(raw: bytes) -> Iterator[bytes | int]:
    """Split into pkt-lines: bytes for a data packet, 0 for flush, 1 for delimiter, 2 for response end.

    Raise NotPacketsError at the first byte that fits no packet (gitprotocol-common, "pkt-line Format").
    """
    at = 0
    while at < len(raw):
        length = _length(raw[at : at + _HEADER])
        if length < _HEADER:
            yield length
            at += _HEADER
            continue
        if at + length > len(raw):
            raise NotPacketsError("the last packet is cut short")
        yield raw[at + _HEADER : at + length]
        at += length


def _length(header: bytes) -> int:
    if not _LENGTH.fullmatch(header):
        raise NotPacketsError(f"not the length of a packet: {header!r}")
    length = int(header, 16)
    if length == 3 or length > _MAX_PACKET:  # noqa: PLR2004  lengths 0 to 2 have a meaning, 3 has none
        raise NotPacketsError(f"no packet has the length {length}")
    return length


def _packet(data: bytes | int) -> bytes:
    return b"%04x" % data if isinstance(data, int) else b"%04x%b" % (len(data) + _HEADER, data)


def normalise_request(raw: bytes) -> bytes:
    """Take `agent` and `session-id` out of an upload-pack request (protocol 0, 1 or 2), for its key only.

    Everything else stays, the haves and the order too. Bytes that are no pkt-lines come back as they are.
    """
    try:
        lines = list(packets(raw))
    except NotPacketsError:
        return raw
    first = lines[0] if lines else 0
    if isinstance(first, bytes) and first.startswith(b"command="):
        end = next((at for at, line in enumerate(lines) if isinstance(line, int)), len(lines))
        kept = [line for line in lines[:end] if isinstance(line, bytes) and not line.startswith(_IDLE_CAPABILITIES)]
        return b"".join(_packet(line) for line in [*kept, *lines[end:]])
    if isinstance(first, bytes) and first.startswith(b"want "):
        lines[0] = _without_idle_capabilities(first)
        return b"".join(_packet(line) for line in lines)
    return raw


def _without_idle_capabilities(line: bytes) -> bytes:
    end = b"\n" if line.endswith(b"\n") else b""
    words = line.removesuffix(b"\n").split(b" ")
    return b" ".join([*words[:2], *(word for word in words[2:] if not word.startswith(_IDLE_CAPABILITIES))]) + end


class ResultDigest:
    """Digests what an upload-pack result says, whatever the packets that it is cut into.

    Feed it the body in pieces of any size; it holds one packet at most. Progress (band 2) does not count, lines
    outside the side bands (acknowledgements, shallow and section lines) do.
    """

    def __init__(self) -> None:
        """Start with an empty body."""
        self._lines = hashlib.sha256()
        self._pack = hashlib.sha256()
        self._pending = bytearray()
        self._broken = False
        self._banded = False

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next piece; after bytes that are no packets nothing more is looked at."""
        for start in range(0, 0 if self._broken else len(chunk), _MAX_PACKET):
            self._pending += chunk[start : start + _MAX_PACKET]
            try:
                self._drain()
            except NotPacketsError:
                self._broken = True
                self._pending.clear()
                return

    def hexdigest(self) -> str | None:
        """Give the SHA-256, or None where the body was no banded result, was cut short or told of an error."""
        if self._broken or self._pending or not self._banded:
            return None
        return hashlib.sha256(self._lines.digest() + self._pack.digest()).hexdigest()

    def _drain(self) -> None:
        at = 0
        while len(self._pending) - at >= _HEADER:
            length = _length(bytes(self._pending[at : at + _HEADER]))
            end = at + max(length, _HEADER)
            if end > len(self._pending):
                break
            self._take(length if length < _HEADER else bytes(self._pending[at + _HEADER : end]))
            at = end
        del self._pending[:at]

    def _take(self, data: bytes | int) -> None:
        band = data[0] if isinstance(data, bytes) and data else None
        if band == _FATAL or (isinstance(data, bytes) and data.startswith(b"ERR ")):
            raise NotPacketsError("the server reports an error")
        if isinstance(data, bytes) and band == _DATA:
            self._banded = True
            self._pack.update(data[1:])
        elif band != _PROGRESS:
            self._lines.update(_packet(data))


def result_digest(chunks: Iterable[bytes | memoryview]) -> str | None:
    """Digest a whole upload-pack result (see ResultDigest)."""
    digest = ResultDigest()
    for chunk in chunks:
        digest.feed(chunk)
    return digest.hexdigest()

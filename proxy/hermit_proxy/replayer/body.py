"""Takes the body of a request out of the bytes of a connection, exactly, whatever they pretend (RFC 9112 section 7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from hermit_proxy.recorder.head import BadHeadError

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"  # no control characters, as in a head (RFC 9110 section 5.5)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TEXT + rb")?")
# A chunk's size with its extensions, and all trailers together.
_MAX_LINE = 1024
_MAX_TRAILERS = 8192
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _TEXT)
# They would say something else of the request than its head did (RFC 9110 section 6.5.1).
_NO_TRAILER = re.compile(rb"(?:transfer-encoding|content-[a-z]+|host|trailer):", re.IGNORECASE)

Take = Callable[[memoryview], None]


class BodyReader(Protocol):
    """Takes bytes from the front of a buffer and hands on those that are the body."""

    def read(self, buffer: bytearray, take: Take) -> bool:
        """Take what is there; tell whether the body is complete. Raise BadHeadError for what is no body."""
        ...


class LengthReader:
    """Is a body with Content-Length."""

    def __init__(self, length: int) -> None:
        """Take the number of bytes."""
        self._left = length

    def read(self, buffer: bytearray, take: Take) -> bool:
        """Take at most what is left."""
        count = min(self._left, len(buffer))
        if count:
            with memoryview(buffer) as view, view[:count] as part:
                take(part)
            del buffer[:count]
            self._left -= count
        return self._left == 0


class ChunkedReader:
    """Is a body in chunks. States: at a size -> in a chunk -> behind a chunk -> at a size ... -> trailers -> done."""

    def __init__(self) -> None:
        """Begin before the first size."""
        self._chunk = LengthReader(0)
        self._state: Callable[[bytearray, Take], bool | None] = self._at_size
        self._trailers = 0

    def read(self, buffer: bytearray, take: Take) -> bool:
        """Take as many chunks as are there."""
        while (result := self._state(buffer, take)) is None:
            pass
        return result

    def _at_size(self, buffer: bytearray, _take: Take) -> bool | None:
        line = _line(buffer, _MAX_LINE)
        if line is None:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise BadHeadError(400, "a chunk without a size")
        size = int(found[1], 16)
        self._chunk = LengthReader(size)
        self._state = self._in_chunk if size else self._in_trailers
        return None

    def _in_chunk(self, buffer: bytearray, take: Take) -> bool | None:
        if not self._chunk.read(buffer, take):
            return False
        self._state = self._behind_chunk
        return None

    def _behind_chunk(self, buffer: bytearray, _take: Take) -> bool | None:
        if buffer[:2] == b"\r\n":
            del buffer[:2]
            self._state = self._at_size
            return None
        if b"\r\n".startswith(buffer):
            return False
        raise BadHeadError(400, "a chunk that is longer than its size")

    def _in_trailers(self, buffer: bytearray, _take: Take) -> bool | None:
        line = _line(buffer, _MAX_TRAILERS)
        if line is None:
            return False
        self._trailers += len(line)
        if line and (self._trailers > _MAX_TRAILERS or not _TRAILER.fullmatch(line) or _NO_TRAILER.match(line)):
            raise BadHeadError(400, "trailers that are none")
        # They are read over: none of them may change what the head has said.
        return None if line else True


def _line(buffer: bytearray, limit: int) -> bytes | None:
    end = buffer.find(b"\n", 0, limit)
    if end < 0:
        if len(buffer) >= limit:
            raise BadHeadError(400, "a line in a chunked body that does not end")
        return None
    line = bytes(buffer[: end + 1])
    del buffer[: end + 1]
    if not line.endswith(b"\r\n"):
        raise BadHeadError(400, "a line in a chunked body that does not end with CR LF")
    return line[:-2]

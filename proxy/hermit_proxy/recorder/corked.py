"""Sends what the layers write to a connection in one piece for each event: a call costs more than a copy."""

from __future__ import annotations

import asyncio
from typing import Any

# Bytes that are worth being copied to save a call; what is larger goes out as it is.
_JOINED = 1 << 16


class CorkedWriter:
    """Is the part of a StreamWriter that mitmproxy's handler uses; nothing goes out before a flush, drain or end."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        """Take the writer."""
        self._writer = writer
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Take a piece."""
        self._pieces.append(data)

    def flush(self) -> None:
        """Send what was written."""
        pieces = self._pieces
        if not pieces:
            return
        self._pieces = []
        if len(pieces) > 1 and sum(map(len, pieces)) <= _JOINED:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            self._writer.write(piece)

    async def drain(self) -> None:
        """Wait until the peer has taken enough."""
        self.flush()
        await self._writer.drain()

    def write_eof(self) -> None:
        """Say that nothing more comes."""
        self.flush()
        self._writer.write_eof()

    def close(self) -> None:
        """Close the connection after what was written."""
        if not self._writer.is_closing():
            self.flush()
        self._writer.close()

    def is_closing(self) -> bool:
        """Tell whether it is being closed."""
        return self._writer.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Give what is known of the socket."""
        return self._writer.get_extra_info(name, default)

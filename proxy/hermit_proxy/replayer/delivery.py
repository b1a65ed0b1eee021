"""Sends answers of any size down a wire at bounded memory, and has the log told what was really sent."""

from __future__ import annotations

import os
from collections.abc import Callable

from hermit_proxy.replayer.site import Reply
from hermit_proxy.replayer.wire import Wire

# Four records of TLS: larger pieces are no faster, and each client that reads slowly holds three times as much.
_CHUNK = 64 * 1024
_HUNG_UP = "the client hung up"


def send(wire: Wire, reply: Reply, *, close: bool) -> None:
    """Send an answer that is in memory; `close` says to the client that it is the last one."""
    # The line comes first: a proxy that is killed between the two has answered nothing that is not in its log.
    reply.done(len(reply.body), None)
    head = reply.answer.head(close=close)
    wire.write(head + reply.body if reply.body else head)


async def stream(wire: Wire, reply: Reply, *, close: bool, over: Callable[[], bool]) -> bool:
    """Send an answer whatever its size; `over` tells that the client is gone. Tell whether all of it went out."""
    if over():
        if reply.file is not None:
            reply.file.close()
        reply.done(0, _HUNG_UP)
        return False
    if reply.file is None:
        send(wire, reply, close=close)
        return True
    answer = reply.answer
    sent, reason = 0, _HUNG_UP
    try:
        wire.write(answer.head(close=close))
        with reply.file as file:
            while sent < answer.size and not over():
                piece = os.pread(file.fileno(), min(_CHUNK, answer.size - sent), answer.start + sent)
                if not piece:
                    reason = "the stored body ended before its size"
                    break
                wire.write(piece)
                sent += len(piece)
                await wire.flow()
    except OSError as error:
        reason = f"the stored body could not be read: {error.strerror}"
    finally:
        reply.done(sent, None if sent == answer.size else reason)
    return sent == answer.size

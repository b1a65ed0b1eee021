"""Names what stands between a connection and what it is answered, so that one connection class serves both modes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from time import time as wall_time
from typing import BinaryIO, Protocol

from hermit_proxy.recorder.head import Tunnel
from hermit_proxy.replayer.answer import Answer
from hermit_proxy.replayer.sinks import Sink
from hermit_proxy.request.target import Target

# Who asked for what, and why it was not even understood: method, URL, reason, status.
Complaint = tuple[str, str, str, int]


class RunOverError(Exception):
    """Is raised when the run has ended: nothing is answered any more."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """Is a request whose head was read: `headers` in lower case, repeated ones joined; `length` None for chunks."""

    raw: bytes
    method: str
    target: Target
    headers: Mapping[str, str]
    length: int | None
    keep_alive: bool
    tunnel: Tunnel | None
    time: float = field(default_factory=wall_time)
    clock: float = field(default_factory=monotonic)

    @property
    def has_body(self) -> bool:
        """Tell whether a body follows."""
        return self.length != 0


@dataclass(slots=True)
class Reply:
    """Is an answer with its body at hand: `body` in memory, or `file` from the answer's start to its stop.

    `done` writes the line of the log; it gets the bytes of body that were sent and, where these are not all, why.
    """

    answer: Answer
    body: bytes
    done: Callable[[int, str | None], None]
    file: BinaryIO | None = None
    close: bool = False


class Site(Protocol):
    """Answers requests."""

    def again(self, raw: bytes, tunnel: Tunnel | None) -> bytes | None:
        """Log and give a whole answer, head and body, for a request that is known by its bytes; None for others."""
        ...

    def tunnel(self, host: str, port: int) -> str | None:
        """Say why there is no tunnel to a host; None where there is one."""
        ...

    def sink(self, incoming: Incoming) -> Sink | Reply:
        """Say where the body of a request goes, or answer at once where it need not be sent."""
        ...

    def respond(self, incoming: Incoming, sink: Sink | None) -> Reply | Awaitable[Reply]:
        """Answer, or promise to where something has to be waited for."""
        ...

    def complain(self, complaint: Complaint) -> Reply:
        """Answer what is no request."""
        ...

    def broken_off(self, complaint: Complaint) -> None:
        """Log what ended before it could be answered."""
        ...

"""Bounds what clients can make the proxy hold or wait for; tests take smaller ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Is what one front allows; times are in seconds, sizes in bytes.

    `head` is the time from the first byte of a head (or of TLS) to its last, `progress` the longest silence in the
    middle of a request's body, `write` the longest time in which a client takes nothing of its answer. `linger` is how
    long a refused client may still send, so that it gets to read why. `sweep` says how often all this is looked at.
    `body` bounds the body of one request, `budget` those that all connections together hold in memory.
    """

    connections: int = 1024
    head: float = 60.0
    progress: float = 120.0
    write: float = 300.0
    linger: float = 2.0
    sweep: float = 1.0
    body: int = 64 << 20
    budget: int = 192 << 20

"""Holds what the addons of one recorder share, so that each of them stays one concern."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from mitmproxy import flow as flows
from mitmproxy import http

from hermit_proxy.credentials.bindings import Bindings
from hermit_proxy.errors import HermitError
from hermit_proxy.recorder.connection import RecorderConnection
from hermit_proxy.recorder.exchange import Exchange, Exchanges
from hermit_proxy.recorder.flights import Flights
from hermit_proxy.request.target import Target
from hermit_proxy.run.session import Session
from hermit_proxy.snapshot.entry import Entry

_KEY = "hermit"
_MAX_ALIASES = 10_000


class Engine(Protocol):
    """Answers from the store: an HTTP server of the proxy's own on loopback."""

    def url_for(self, entry: Entry) -> str:
        """Give the URL, known to nobody else, under which it answers with an entry."""

    def url_for_internal_host(self, path: str) -> str:
        """Give the URL under which it answers as hermit.internal."""

    def trouble_with(self, entry: Entry) -> HermitError | None:
        """Give what the store said when it could not answer with an entry."""


def same_place(one: Target, other: Target) -> bool:
    """Tell whether two targets differ in nothing but their query: a rule or a binding for one holds for the other."""
    return (one.scheme, one.host, one.port, one.path) == (other.scheme, other.host, other.port, other.path)


class Aliases:
    """Remembers, for this run and in memory only, which URL stands behind one whose signature was cut."""

    def __init__(self) -> None:
        """Start with none."""
        self._real: OrderedDict[str, Target] = OrderedDict()

    def add(self, shown: Target, real: Target) -> None:
        """Remember one; the oldest goes when there are ten thousand."""
        self._real.pop(shown.url, None)
        self._real[shown.url] = real
        if len(self._real) > _MAX_ALIASES:
            self._real.popitem(last=False)

    def real(self, shown: Target) -> Target | None:
        """Give what stands behind a URL."""
        return self._real.get(shown.url)


@dataclass(frozen=True)
class Shared:
    """Is one recorder, as its addons see it."""

    session: Session
    bindings: Bindings
    # Has the store vouch for an entry; blocks, and is called in the pool.
    observe: Callable[[Entry], None]
    exchanges: Exchanges
    engine: Engine
    pool: Executor
    # Called with what makes the whole run worthless: a full disk, a store that is gone.
    alarm: Callable[[Exception], None]
    flights: Flights = field(default_factory=Flights)
    aliases: Aliases = field(default_factory=Aliases)
    connections: dict[str, RecorderConnection] = field(default_factory=dict)

    def open_exchange(self, flow: http.HTTPFlow) -> Exchange | None:
        """Give the exchange of a flow while it is good; None where it is closed or has a problem."""
        exchange = self.exchange(flow)
        return exchange if exchange is not None and exchange.problem is None and not exchange.closed else None

    def exchange(self, flow: http.HTTPFlow) -> Exchange | None:
        """Give the exchange of a flow, whatever became of it."""
        found = flow.metadata.get(_KEY)
        return found if isinstance(found, Exchange) else None

    def attach(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Tie a flow to its exchange."""
        flow.metadata[_KEY] = exchange


def kill(flow: http.HTTPFlow) -> None:
    """Have mitmproxy drop a flow at the end of this hook (Flow.kill refuses flows that are half way)."""
    flow.error = flows.Error(flows.Error.KILLED_MESSAGE)
    flow.live = False

"""Passes an answer on to the client piece by piece, and a copy to the store, while it checks what may be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hermit_proxy.credentials.scan import SecretFoundError, SecretScanner
from hermit_proxy.recorder.exchange import Exchange
from hermit_proxy.recorder.sink import Sink
from hermit_proxy.store.body import StoreFullError


@dataclass(frozen=True, slots=True)
class Window:
    """Is the part of a body that the client wants, as offsets: `start` up to, not including, `end`."""

    start: int
    end: int


class Tee:
    """Is called by mitmproxy with each piece of a body, and with b"" at its end; gives what the client gets.

    States: passing -> ended, or passing -> stopped (a problem: nothing more goes anywhere). It never raises, because
    mitmproxy would go on, and never gives an empty piece, because that ends a chunked body.
    """

    def __init__(  # noqa: PLR0913  what may be done with a body
        self,
        exchange: Exchange,
        *,
        delivered: Callable[[], None],
        stop: Callable[[], None],
        sink: Sink | None = None,
        scanner: SecretScanner | None = None,
        window: Window | None = None,
        max_size: int | None = None,
    ) -> None:
        """Take the exchange, whom to tell of progress and of a stop, and what to do with the bytes."""
        self._exchange = exchange
        self._delivered = delivered
        self._stop = stop
        self._sink = sink
        self._scanner = scanner
        self._window = window
        self._max_size = max_size
        self.stopped = False
        self.ended = False

    def __call__(self, data: bytes) -> list[bytes]:
        """Give the pieces to send."""
        if self.stopped:
            return []
        self._delivered()
        try:
            piece = self._pass(data)
        except SecretFoundError as error:
            return self._end_with(
                str(error), hint="look at what the server sends back before you trust it", refused=True
            )
        except Exception as error:  # noqa: BLE001  mitmproxy would log it and go on
            return self._end_with(f"{type(error).__name__}: {error}")
        return [piece] if piece else []

    def _pass(self, data: bytes) -> bytes:
        exchange = self._exchange
        if self._scanner is not None:
            data = self._scanner.feed(data) if data else self._finish()
        elif not data:
            self.ended = True
        if not data:
            return b""
        position = exchange.received
        exchange.received += len(data)
        if self._max_size is not None and exchange.received > self._max_size:
            self._end_with(f"the answer is larger than the rule's max_size of {self._max_size} bytes", refused=True)
            return b""
        if self._sink is not None:
            self._sink.write(data)
            if self._sink.error is not None:
                self._end_with(store_problem(self._sink.error))
                return b""
        piece = data if self._window is None else _cut(data, position, self._window)
        exchange.size += len(piece)
        return piece

    def _finish(self) -> bytes:
        self.ended = True
        return self._scanner.finish() if self._scanner is not None else b""

    def _end_with(self, reason: str, *, hint: str | None = None, refused: bool = False) -> list[bytes]:
        self.stopped = True
        if refused:
            self._exchange.refuse(reason, hint=hint)
        else:
            self._exchange.fail(reason, hint=hint)
        if self._sink is not None:
            self._sink.drop()
        self._stop()
        return []


def store_problem(error: Exception) -> str:
    """Word what the store said."""
    return str(error) if isinstance(error, StoreFullError) else f"the store: {error}"


def _cut(data: bytes, position: int, window: Window) -> bytes:
    return data[max(window.start - position, 0) : max(window.end - position, 0)]

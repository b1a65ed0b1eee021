"""Stands before a real server and lets nothing through while it is shut, so that a run stops exactly there."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_SIZE = 1 << 16
_PATIENCE = 120


class Gate:
    """Is a relay. `reached` is set when somebody has connected; `shut` and `open` may be called at any time."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        """Take a listening socket and what connects to the server behind."""
        self.reached = threading.Event()
        self._opened = threading.Event()
        self._opened.set()
        self._listener = listener
        self._connect = connect
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        """Relay."""
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop; connections under way end with their clients."""
        self.open()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def shut(self) -> None:
        """Hold up whoever connects from now on."""
        self.reached.clear()
        self._opened.clear()

    def open(self) -> None:
        """Let everybody through."""
        self._opened.set()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.reached.set()
        with client, contextlib.suppress(OSError):
            if self._opened.wait(_PATIENCE):
                with self._connect() as server:
                    back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                    back.start()
                    _pump(client, server)
                    back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_SIZE):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

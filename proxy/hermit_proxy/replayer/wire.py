"""Moves the bytes of one client, in clear or through TLS, and says when the client takes no more."""

from __future__ import annotations

import asyncio
import ssl

from hermit_proxy.replayer.tls import Contexts, Tls

# What may wait for a client that reads slowly.
HIGH_WATER = 256 * 1024


class WireError(Exception):
    """Is raised where TLS with the client has failed; nothing more can be said to it."""


class Wire:
    """Is a transport with TLS or without. `paused` says that the client takes no more for now."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Take a connected transport."""
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._transport = transport
        self._tls: Tls | None = None
        self._reading = True
        self._writable: asyncio.Future[None] | None = None
        self.paused = False

    @property
    def secure(self) -> bool:
        """Tell whether TLS has begun."""
        return self._tls is not None

    @property
    def handshaking(self) -> bool:
        """Tell whether TLS has begun and cannot carry anything yet."""
        return self._tls is not None and not self._tls.open

    @property
    def ended(self) -> bool:
        """Tell whether the client has said within TLS that nothing more comes."""
        return self._tls is not None and self._tls.ended

    @property
    def fault(self) -> str | None:
        """Say what is wrong with the name that the client gave to TLS."""
        return self._tls.fault if self._tls is not None else None

    @property
    def unsent(self) -> bool:
        """Tell whether something that was written has not gone to the client yet."""
        return self._transport.get_write_buffer_size() > 0

    def start_tls(self, contexts: Contexts, host: str) -> None:
        """Take what comes from now on as TLS."""
        self._tls = Tls(contexts.for_host(host))

    def decrypt(self, data: bytes) -> bytes:
        """Give what came in clear; raise WireError."""
        tls = self._tls
        if tls is None:
            return data
        try:
            clear = tls.feed(data)
        except ssl.SSLError as error:
            raise WireError(_words(error)) from error
        finally:
            if waiting := tls.pending():
                self._transport.write(waiting)
        return clear

    def write(self, data: bytes) -> None:
        """Send."""
        self._transport.write(self._tls.encrypt(data) if self._tls is not None else data)

    def read_on(self, *, on: bool) -> None:
        """Let the client send, or not."""
        if on and not self._reading:
            self._transport.resume_reading()
        elif not on and self._reading:
            self._transport.pause_reading()
        self._reading = on

    def pause(self) -> None:
        """Note that the client takes no more."""
        self.paused = True

    def resume(self) -> None:
        """Note that it does again, or that it is gone."""
        self.paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    async def flow(self) -> None:
        """Wait while the client takes no more; let others have their turn in any case."""
        if not self.paused:
            await asyncio.sleep(0)
        while self.paused:
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable

    def farewell(self) -> None:
        """Say that nothing more will come, and go on reading."""
        self._close_tls()
        self.read_on(on=True)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        """Hang up when everything has been sent."""
        self._close_tls()
        self._transport.close()

    def abort(self) -> None:
        """Hang up now."""
        self._transport.abort()

    def _close_tls(self) -> None:
        if self._tls is not None and self._tls.open:
            self._transport.write(self._tls.close())


def _words(error: ssl.SSLError) -> str:
    words = (error.reason or str(error)).lower().replace("_", " ")
    # Which of them a client sends that does not know the issuer depends on its library.
    if any(alert in words for alert in ("unknown ca", "bad certificate", "certificate unknown")):
        return f"{words} (the client does not trust the run's certificate authority)"
    return words

"""Carries orders to a proxy process and reports back over a socket pair that nobody else can reach.

One JSON object a packet (SOCK_SEQPACKET); a listening socket travels as ancillary data. See
docs/decisions/control-by-inheritance.md.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hermit_proxy.errors import ExitCode, HermitError

Message = dict[str, Any]

MAX_PACKET = 64 * 1024
_MAX_FDS = 4
# Reports that nobody asked for, at most so often (seconds).
_STATUS_INTERVAL = 0.2
# Seconds between two looks at whether the last words have gone out; nearly always they have at the first.
_AGAIN = 0.01
# Room for the rest of a report: an error that names a thousand entries is cut, not lost.
_MAX_TEXT = 48 * 1024


class ControlError(HermitError):
    """Is raised for a packet that no supervisor or proxy of this version sends; the connection is of no use then."""


class Handler(Protocol):
    """Is what a proxy does when it is told to."""

    async def on_listen(self, sock: socket.socket) -> None:
        """Accept connections on a listening TCP socket, which now belongs to the proxy."""
        ...

    def on_step(self, name: str | None, network: str) -> str | None:
        """Begin a step (`network` is `proxy` or `none`), or end it where `name` is None; give the step's name."""
        ...

    async def on_finish(self) -> None:
        """Stop accepting, let answers under way end, bring log and store to the disk."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Give the counts."""
        ...


def pack(message: Mapping[str, Any]) -> bytes:
    """Make a packet; texts that would not fit are cut."""
    most = _MAX_TEXT
    while True:  # Escapes make a text up to six times as long, and there may be several of them.
        cut = {k: f"{v[:most]}..." if isinstance(v, str) and len(v) > most else v for k, v in message.items()}
        packet = json.dumps(cut, separators=(",", ":")).encode()
        if len(packet) <= MAX_PACKET or most == 0:
            return packet
        most //= 2


def unpack(packet: bytes) -> Message:
    """Read a packet; raise ControlError if it is not a JSON object."""
    try:
        message = json.loads(packet)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"not a control packet: {packet[:80]!r}") from error
    if not isinstance(message, dict):
        raise ControlError(f"not a control packet: {packet[:80]!r}")
    return message


class Channel:
    """Is one end of the pair on an event loop: packets out in order without blocking, packets in to `on_packet`.

    `on_packet` gets a message and the descriptors that came with it, which it owns; `on_hangup` is called once when
    the other end has closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_packet: Callable[[Message, list[int]], None],
        on_hangup: Callable[[], None],
    ) -> None:
        """Take a connected SOCK_SEQPACKET socket; it belongs to the channel from now on."""
        self._sock = sock
        self._sock.setblocking(False)
        self._on_packet = on_packet
        self._on_hangup = on_hangup
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def busy(self) -> bool:
        """Tell whether packets wait for the other end to read."""
        return bool(self._out)

    async def sent(self) -> None:
        """Wait until the other end has read so much that all packets are on their way, or has gone."""
        while self._out and self._loop is not None:  # noqa: ASYNC110  an event, for what nearly never waits?
            await asyncio.sleep(_AGAIN)

    def start(self) -> None:
        """Read on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def send(self, message: Mapping[str, Any], fds: list[int] | None = None) -> None:
        """Send a packet, with duplicates of these descriptors; what is sent to a closed end is lost."""
        if self._loop is None:
            return
        copies = [os.dup(fd) for fd in fds or ()]
        self._out.append((pack(message), copies))
        if len(self._out) == 1:
            self._writable()

    def close(self) -> None:
        """Close this end; closing twice is safe."""
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._loop = None
        while self._out:
            _close(self._out.popleft()[1])
        self._sock.close()

    def drain(self) -> None:
        """Handle all packets that have come, as before closing an end whose other side is gone."""
        while self._loop is not None and self._readable():
            pass

    def _writable(self) -> None:
        while self._out and self._loop is not None:
            packet, fds = self._out[0]
            try:
                socket.send_fds(self._sock, [packet], fds)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._sock.fileno(), self._writable)
                return
            except OSError:
                pass  # The other end is gone; the reader notices.
            _close(self._out.popleft()[1])
        if self._loop is not None:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> bool:
        try:
            packet, fds = receive(self._sock)
            message = unpack(packet) if packet else None
        except (BlockingIOError, InterruptedError):
            return False
        except (OSError, ControlError):
            message = None
        if message is None:
            self.close()
            self._on_hangup()
            return False
        self._on_packet(message, fds)
        return True


class Control:
    """Is the proxy's end: obeys a handler's supervisor, one order after the other, and reports to it."""

    def __init__(self, fd: int, handler: Handler, on_end: Callable[[int], None]) -> None:
        """Take the inherited descriptor; `on_end` gets the exit code when the proxy has to end."""
        self._handler = handler
        self._on_end = on_end
        self._channel = Channel(socket.socket(fileno=fd), self._order, lambda: on_end(ExitCode.MACHINE))
        self._orders: deque[tuple[Message, list[int]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Take orders on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._channel.start()

    def ready(self) -> None:
        """Report that requests will be answered."""
        self._channel.send({"event": "ready"})

    def error(self, error: HermitError) -> None:
        """Report why the proxy ends."""
        self._channel.send(error_message(error))

    def changed(self) -> None:
        """Report the counts soon, but not more often than five times a second."""
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_STATUS_INTERVAL, self._report)

    def _report(self) -> None:
        self._timer = None
        if not self._channel.busy:
            self._channel.send({"event": "status", **self._handler.status()})

    def _order(self, message: Message, fds: list[int]) -> None:
        self._orders.append((message, fds))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._orders:
            message, fds = self._orders.popleft()
            try:
                await self._obey(message, fds)
            except (HermitError, OSError, KeyError, TypeError) as error:
                told = error if isinstance(error, HermitError) else ControlError(f"order {message!r:.200}: {error!r}")
                self.error(told)
                self._on_end(told.exit_code)
                return

    async def _obey(self, message: Message, fds: list[int]) -> None:
        order = message.get("op")
        if order == "listen" and len(fds) == 1:
            await self._handler.on_listen(listening(fds[0]))
            return
        _close(fds)
        if order == "step" and message["network"] in {"proxy", "none"}:
            self._channel.send({"event": "step-started", "name": self._handler.on_step(*_step(message))})
        elif order == "end-step":
            self._channel.send({"event": "step-ended", "name": self._handler.on_step(None, "none")})
        elif order == "status":
            self._channel.send({"event": "status", "asked": True, **self._handler.status()})
        elif order == "finish":
            await self._handler.on_finish()
            self._channel.send({"event": "finished", **self._handler.status()})
            await self._channel.sent()
            self._on_end(ExitCode.DONE)
        else:
            raise ControlError(f"not an order: {message!r:.200} with {len(fds)} descriptors")


def error_message(error: HermitError) -> Message:
    """Give an error as the channel carries it."""
    return {"event": "error", "message": str(error), "hint": error.hint, "exit_code": int(error.exit_code)}


def report_error(fd: int, error: HermitError) -> None:
    """Report an error from a process that has no event loop yet; a supervisor that is gone hears nothing."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setblocking(False)
        try:
            sock.send(pack(error_message(error)))
        except OSError:
            return


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one packet with its descriptors, which are closed on exec; an empty packet is the end."""
    size = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
    packet, ancillary, flags, _ = sock.recvmsg(MAX_PACKET, size, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        _close(list(fds))
        raise OSError("a control packet that is too long")
    return packet, list(fds)


def listening(fd: int) -> socket.socket:
    """Make a socket object of a descriptor; raise ControlError unless it is a listening TCP socket."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        os.close(fd)
        raise ControlError("the descriptor to listen on is not a socket") from error
    if (
        sock.family not in {socket.AF_INET, socket.AF_INET6}
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        sock.close()
        raise ControlError("the descriptor to listen on is not a listening TCP socket")
    return sock


def exit_with_parent(fd: int) -> None:
    """End this process at once when the other end of the control socket closes, even while the event loop is busy."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)

    def _thd_wait() -> None:
        poll.poll()
        os._exit(ExitCode.MACHINE)

    threading.Thread(target=_thd_wait, name="exit-with-parent", daemon=True).start()


def _step(message: Message) -> tuple[str, str]:
    return str(message["name"]), str(message["network"])


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)

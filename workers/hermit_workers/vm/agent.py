"""Speaks with a VM's agent: runs commands there, feeds them, and believes nothing of what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from hermit_workers.cell import CellError, Command
from hermit_workers.vm import protocol
from hermit_workers.vm.protocol import Parser, ProtocolError, Said, Word

_PIECE = protocol.MOST_PAYLOAD
_PATIENCE = 5.0  # seconds, with a guest that takes no orders
_LIMITS = {b"m": "memory", b"p": "processes"}
_CHANCE = 512  # bytes: the kernel's own seed files have as many
_LEFT = "the VM's agent is no longer there"


class Sink(Protocol):
    """Is where the output of a command goes."""

    async def write(self, data: bytes, *, ended: bool) -> None:
        """Take what was printed; after the command has `ended` it must not wait for anybody."""

    def hurry(self) -> None:
        """Wait for nobody from now on: everything is being ended, and what waits here holds that up."""

    def close(self) -> None:
        """Let go of it; doing it twice is safe."""


@dataclass(slots=True)
class _Run:
    """Is one command, from its order until nobody has its output open."""

    sink: Sink
    ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    closed: bool = False


class Agent:
    """Is the agent of one VM, by its channel.

    States: made -> greeted -> gone. It is gone when the channel ends, when it says what no agent says, and when it is
    closed; every call raises CellError then, and so does every command that is still running.
    """

    def __init__(self, channel: socket.socket, exceeded: Callable[[str], None] = lambda _limit: None) -> None:
        """Take the channel, which is closed with the agent; needs a running loop.

        `exceeded` is called when the guest says that its kernel has kept a limit: `memory` or `processes`.
        """
        channel.setblocking(False)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._runs: dict[int, _Run] = {}
        self._number = 0
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._exceeded = exceeded
        self._cleared: asyncio.Future[None] | None = None
        self._leased: asyncio.Future[str] | None = None
        self._gone: CellError | None = None
        self._sending = asyncio.Lock()
        self._sends: set[asyncio.Task[None]] = set()
        self._reading = self._loop.create_task(self._read())

    async def greeting(self, seconds: float) -> None:
        """Wait until it greets; raise CellError where it does not in time."""
        await self._in_time(asyncio.shield(self._greeted), seconds, "greet")

    async def run(self, command: Command, argv: list[str], sink: Sink, *, stdin: int | None = None) -> int:
        """Run `argv` as a command says and give its status, 128 + n for signals; raise CellError where it cannot start.

        `sink` takes what it prints, and what it leaves running goes on to print; it is closed when that has ended, or
        the agent. `stdin` is read to its end, or to the command's.
        """
        self._number += 1
        number, run = self._number, _Run(sink)
        feeding: asyncio.Task[None] | None = None
        self._runs[number] = run
        try:
            await self._send(protocol.run(number, command, argv, stdin=stdin is not None))
            if stdin is not None:
                feeding = self._loop.create_task(self._feed(number, stdin, run))
            return await run.ended
        except BaseException:  # who gives up hears no more of it, either
            if self._runs.pop(number, None) is not None:
                sink.close()
            raise
        finally:
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    @property
    def newest(self) -> int:
        """Give the number of the command that was started last, 0 before the first."""
        return self._number

    @property
    def gone(self) -> bool:
        """Tell whether it is no longer there."""
        return self._gone is not None

    async def signal(self, number: int, which: int) -> None:
        """Send a signal to a command, if it runs; a guest that takes no orders gets none."""
        run = self._runs.get(number)
        if run is not None and not run.ended.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self._send(protocol.signal(number, which))

    async def lease(self, clock: int, seconds: float) -> None:
        """Have a machine that has waited begin: set its clock (seconds since the epoch), and stir in fresh chance.

        Raise CellError where it does not do so in time, or cannot.
        """
        await self._in_time(self._lease(clock), seconds, "begin the build")

    async def _lease(self, clock: int) -> None:
        self._leased = self._loop.create_future()
        await self._send(protocol.lease(clock, secrets.token_bytes(_CHANCE)))
        if failed := await asyncio.shield(self._leased):
            raise CellError(f"the VM cannot begin the build: {failed!r}")

    async def clear(self, seconds: float) -> None:
        """End every process of the VM but the agent; raise CellError where that is not done in time."""
        await self._in_time(self._clear(), seconds, "end the VM's processes")

    async def _clear(self) -> None:
        if self._cleared is None:
            self._cleared = self._loop.create_future()
            for run in self._runs.values():  # its answer comes after all that they have printed
                run.sink.hurry()
            await self._send(protocol.clear())
        await asyncio.shield(self._cleared)
        self._cleared = None

    async def close(self) -> None:
        """Leave it; doing it twice is safe."""
        tasks = [self._reading, *self._sends]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end(CellError(_LEFT))
        self._channel.close()

    async def _in_time(self, doing: Awaitable[None], seconds: float, what: str) -> None:
        try:
            await asyncio.wait_for(doing, seconds)
        except TimeoutError:
            raise CellError(f"the VM's agent does not {what} in {seconds:g} s") from None

    async def _send(self, data: bytes) -> None:
        if self._gone is not None:
            raise CellError(str(self._gone), hint=self._gone.hint)
        # Whoever gives up in the middle of an order must not cut it: the next one would be read as its end.
        sending = self._loop.create_task(self._send_whole(data))
        self._sends.add(sending)
        sending.add_done_callback(self._on_sent)
        await asyncio.wait([sending])
        if sending.cancelled():  # by close: it was not this task that was cancelled
            raise CellError(str(self._gone or _LEFT))
        sending.result()

    def _on_sent(self, sending: asyncio.Task[None]) -> None:
        self._sends.discard(sending)
        if not sending.cancelled():
            sending.exception()  # whoever asked is told, unless they have given up

    async def _send_whole(self, data: bytes) -> None:
        try:
            async with self._sending:
                await self._loop.sock_sendall(self._channel, data)
        except OSError as error:
            self._end(CellError(f"the VM's agent has gone: {error.strerror}"))
            raise CellError(str(self._gone)) from error

    async def _feed(self, number: int, source: int, run: _Run) -> None:
        try:
            while True:
                await readable(source)
                data = os.read(source, _PIECE)
                await self._send(protocol.feed(number, data))
                if not data:
                    return
        except OSError as error:
            # The command would wait for the rest for ever, or take the half for the whole.
            with contextlib.suppress(CellError):
                await self.signal(number, signal.SIGKILL)
            if not run.ended.done() and self._runs.pop(number, None) is not None:
                run.sink.close()  # how it ends is nobody's any more
                why = f"what a command in the VM was to read cannot be read: {error.strerror}"
                run.ended.set_exception(CellError(why))

    async def _read(self) -> None:
        parser = Parser()
        try:
            while data := await self._loop.sock_recv(self._channel, _PIECE):
                for said in parser.feed(data):
                    await self._hear(said)
                # A guest that always has more to say must not keep time limits and signals from being seen to.
                await asyncio.sleep(0)
            cut = " in the middle of a word" if parser.within else ""
            self._end(CellError(f"the VM's agent has gone{cut}"))
        except CellError as error:
            self._end(error)
        except OSError as error:
            self._end(CellError(f"the VM's agent has gone: {error.strerror}"))
        # An order that waits for a guest that takes none fails now; of a closed one nobody would hear.
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    async def _hear(self, said: Said) -> None:
        if said.number == 0:
            self._hear_machine(said)
            return
        run = self._runs.get(said.number)
        if run is None:
            if 0 < said.number <= self._number:  # one that was given up: its last words may be on their way
                return
            raise ProtocolError(f"the VM's agent speaks of the command {said.number}, which nobody gave it")
        if said.word is Word.OUTPUT:
            await run.sink.write(said.payload, ended=run.ended.done())
        elif said.word is Word.CLOSED:
            run.sink.close()
            run.closed = True
        else:
            self._on_end(said, run)
        if run.closed and run.ended.done():
            self._runs.pop(said.number, None)

    def _hear_machine(self, said: Said) -> None:
        if said.word is Word.HELLO:
            self._greeted.set_result(None)
        elif said.word is Word.EXCEEDED:
            if (limit := _LIMITS.get(said.payload)) is None:
                raise ProtocolError(f"the VM's agent speaks of the limit {said.payload!r}, and there is none")
            self._exceeded(limit)
        elif said.word is Word.CLEARED and self._cleared is not None and not self._cleared.done():
            self._cleared.set_result(None)
        elif said.word is Word.LEASED and self._leased is not None and not self._leased.done():
            self._leased.set_result(said.payload.decode(errors="replace"))
        else:
            raise ProtocolError("the VM's agent answers what nobody asked")

    def _on_end(self, said: Said, run: _Run) -> None:
        if run.ended.done():
            if not run.ended.cancelled():
                raise ProtocolError(f"the VM's agent ends the command {said.number} twice")
        elif said.word is Word.EXITED:
            run.ended.set_result(said.payload[0])
        else:
            reason = said.payload.decode(errors="replace")
            run.ended.set_exception(CellError(f"the VM does not start a command: {reason!r}"))

    def _end(self, error: CellError) -> None:
        """Have everybody know who waits for something."""
        if self._gone is not None:
            return
        self._gone = error
        waiting = [run.ended for run in self._runs.values()]
        for future in (*waiting, self._greeted, self._cleared, self._leased):
            if future is not None and not future.done():
                future.set_exception(CellError(str(error), hint=error.hint))
                future.exception()  # who asks later is told, and who does not need not be
        for run in self._runs.values():
            run.sink.close()
        self._runs.clear()


async def readable(descriptor: int) -> None:
    """Wait until something can be read, or the end; of plain files that is always."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    try:
        loop.add_reader(descriptor, _set, ready)
    except PermissionError:  # epoll(7): a plain file
        return
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

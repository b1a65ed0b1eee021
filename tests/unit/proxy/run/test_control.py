"""Tests the control channel from both ends, over real socket pairs."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from hermit_proxy.errors import ExitCode, HermitError, UsageError
from hermit_proxy.run.control import (
    MAX_PACKET,
    Channel,
    Control,
    ControlError,
    Message,
    listening,
    pack,
    receive,
    report_error,
    unpack,
)


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Recording:
    """Is a proxy that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def on_listen(self, sock: socket.socket) -> None:
        self.told.append(sock.getsockname()[1])
        sock.close()

    def on_step(self, name: str | None, network: str) -> str | None:
        self.told.append((name, network))
        return name or "ended"

    async def on_finish(self) -> None:
        self.told.append("finish")

    def status(self) -> Mapping[str, Any]:
        return {"requests": len(self.told)}

    def end(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)


async def conversation(*orders: Message, fds: list[int] | None = None) -> tuple[list[Message], Recording, int]:
    """Send orders, hang up, and give the answers, the proxy and its exit code."""
    ours, theirs = pair()
    handler = Recording()
    control = Control(theirs.detach(), handler, handler.end)
    control.start()
    heard: list[Message] = []
    complete = asyncio.Event()
    expected = sum(1 for order in orders if order.get("op") != "listen")

    def hear(message: Message, _fds: list[int]) -> None:
        heard.append(message)
        if len(heard) == expected or message["event"] == "error":
            complete.set()

    channel = Channel(ours, hear, complete.set)
    channel.start()
    for order in orders:
        channel.send(order, fds if order.get("op") == "listen" else None)
    if expected:
        await asyncio.wait_for(complete.wait(), 10)
    channel.close()
    return heard, handler, await asyncio.wait_for(handler.ended, 10)


def test_orders_are_obeyed_and_answered_in_their_order() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        heard, handler, code = asyncio.run(
            conversation(
                {"op": "listen"},
                {"op": "step", "name": "build", "network": "none"},
                {"op": "status"},
                {"op": "end-step"},
                {"op": "finish"},
                fds=[sock.fileno()],
            )
        )
    assert handler.told == [port, ("build", "none"), (None, "none"), "finish"]
    assert heard == [
        {"event": "step-started", "name": "build"},
        {"event": "status", "asked": True, "requests": 2},
        {"event": "step-ended", "name": "ended"},
        {"event": "finished", "requests": 4},
    ]
    assert code == 0


@pytest.mark.parametrize(
    "order",
    [
        {"op": "dance"},
        {},
        {"op": "step", "name": "x", "network": "all"},
        {"op": "step", "name": "x"},
        {"op": "listen"},
    ],
)
def test_what_is_no_order_ends_the_proxy_with_an_error(order: Message) -> None:
    heard, handler, code = asyncio.run(conversation({"op": "status"}, order, {"op": "status"}))
    assert heard[1]["event"] == "error"
    assert (handler.told, code) == ([], 4)


def test_hanging_up_ends_the_proxy() -> None:
    heard, handler, code = asyncio.run(conversation())
    assert (heard, handler.told, code) == ([], [], 4)


def test_a_packet_that_is_not_json_ends_the_conversation() -> None:
    async def scenario() -> int:
        ours, theirs = pair()
        handler = Recording()
        Control(theirs.detach(), handler, handler.end).start()
        ours.send(b"\xff{")
        return await asyncio.wait_for(handler.ended, 10)

    assert asyncio.run(scenario()) == 4


def test_many_packets_wait_for_an_end_that_does_not_read() -> None:
    async def scenario() -> list[int]:
        ours, theirs = pair()
        writer = Channel(ours, lambda *_: None, lambda: None)
        writer.start()
        for number in range(3000):
            writer.send({"n": number, "pad": "x" * 200})
        assert writer.busy
        heard: list[int] = []
        everything = asyncio.Event()

        def hear(message: Message, _fds: list[int]) -> None:
            heard.append(message["n"])
            if len(heard) == 3000:
                everything.set()

        reader = Channel(theirs, hear, lambda: None)
        reader.start()
        await asyncio.wait_for(everything.wait(), 20)
        reader.close()
        writer.close()
        writer.close()
        return heard

    assert asyncio.run(scenario()) == list(range(3000))


def test_reports_come_in_bundles() -> None:
    async def scenario() -> list[Message]:
        ours, theirs = pair()
        handler = Recording()
        control = Control(theirs.detach(), handler, handler.end)
        control.start()
        heard: list[Message] = []
        first = asyncio.Event()

        def hear(message: Message, _fds: list[int]) -> None:
            heard.append(message)
            first.set()

        channel = Channel(ours, hear, lambda: None)
        channel.start()
        for _ in range(1000):
            control.changed()
        await asyncio.wait_for(first.wait(), 10)
        channel.close()
        return heard

    assert asyncio.run(scenario()) == [{"event": "status", "requests": 0}]


def test_texts_that_are_too_long_are_cut_and_nothing_is_lost() -> None:
    for text in ("x" * 200_000, "\u2713" * 200_000, "\0" * 200_000):
        packet = pack({"event": "error", "message": text, "exit_code": 3})
        assert len(packet) <= MAX_PACKET
        message = unpack(packet)
        assert (message["exit_code"], message["message"][:100]) == (3, text[:100])


@pytest.mark.parametrize("packet", [b"", b"[]", b"1", b"\xff", b"{", b"[" * 60_000])
def test_a_packet_is_an_object(packet: bytes) -> None:
    with pytest.raises(ControlError):
        unpack(packet)


@pytest.mark.parametrize("character", ["x", "\u2713", "\0"])
def test_several_long_texts_still_fit_into_a_packet(character: str) -> None:
    packet = pack({"event": "error", "message": character * 60_000, "hint": character * 60_000, "exit_code": 3})
    assert len(packet) <= MAX_PACKET
    assert unpack(packet)["exit_code"] == 3


def test_descriptors_that_come_along_are_not_inherited_by_children() -> None:
    ours, theirs = pair()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        socket.send_fds(ours, [b"{}"], [sock.fileno()])
    _, fds = receive(theirs)
    assert not os.get_inheritable(fds[0])
    os.close(fds[0])
    ours.close()
    assert receive(theirs) == (b"", [])
    theirs.close()


def test_too_many_descriptors_are_refused_and_closed() -> None:
    ours, theirs = pair()
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(ours, [b"{}"], [0] * 50)
    with pytest.raises(OSError, match="too long"):
        receive(theirs)
    assert len(os.listdir("/proc/self/fd")) == before
    ours.close()
    theirs.close()


def test_only_a_listening_tcp_socket_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert listening(os.dup(sock.fileno())).getsockname() == sock.getsockname()
    unfit = [socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)]
    for sock in unfit:
        with pytest.raises(ControlError):
            listening(os.dup(sock.fileno()))
        sock.close()
    reading, writing = os.pipe()
    with pytest.raises(ControlError):
        listening(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


def test_an_error_is_reported_without_a_loop() -> None:
    ours, theirs = pair()
    report_error(theirs.fileno(), UsageError("bad rules", hint="mend them"))
    assert unpack(ours.recv(1000)) == {"event": "error", "message": "bad rules", "hint": "mend them", "exit_code": 2}
    ours.close()
    report_error(theirs.fileno(), HermitError("nobody hears this"))
    theirs.close()


@pytest.mark.parametrize("busy", ["time.sleep(60)", "while True: pass"])
def test_a_busy_process_ends_with_its_parent_all_the_same(busy: str) -> None:
    ours, theirs = pair()
    code = "import sys, time; from hermit_proxy.run.control import exit_with_parent; exit_with_parent(int(sys.argv[1]))"
    code = f"{code}\n{busy}"
    child = subprocess.Popen([sys.executable, "-c", code, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()
    ours.close()
    try:
        assert child.wait(30) == 4
    finally:
        child.kill()


def test_the_last_word_goes_out_before_the_end_however_far_behind_the_supervisor_is() -> None:
    async def supervise() -> None:
        ours, theirs = pair()
        proxy = Recording()
        control = Control(theirs.detach(), proxy, proxy.end)
        control.start()
        while not control._channel.busy:  # nobody reads: it was stopped, by Ctrl-Z
            control._report()
        ours.send(pack({"op": "finish"}))
        heard = ""
        while heard != "finished":
            await asyncio.sleep(0.001)
            assert not proxy.ended.done() or not control._channel.busy
            packet, _ = receive(ours)
            heard = unpack(packet)["event"]
        assert await proxy.ended == ExitCode.DONE
        control._channel.close()
        ours.close()

    asyncio.run(supervise())

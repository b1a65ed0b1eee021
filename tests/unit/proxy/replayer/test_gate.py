"""Tests the way into a tunnel, with a wire over a socket pair on a real loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import pytest

from hermit_proxy.recorder.head import BadHeadError, Tunnel
from hermit_proxy.replayer.gate import Gate
from hermit_proxy.replayer.inbox import Inbox
from hermit_proxy.replayer.site import Site
from hermit_proxy.replayer.tls import Contexts
from hermit_proxy.replayer.wire import Wire
from hermit_proxy.run.ca import RunCA

HOST = "x.example.org"
CONTEXTS = Contexts(RunCA.create())


class Doors:
    """Is as much of a site as a gate asks: every host is open but one."""

    def tunnel(self, host: str, port: int) -> str | None:
        return f"not {host}:{port}" if host == "shut.example.org" else None


def gate(contexts: Contexts | None = CONTEXTS) -> Gate:
    return Gate(cast("Site", Doors()), contexts, None)


def with_wire(use: Callable[[Wire], None]) -> bytes:
    """Use a wire, and give what came out at its other end."""
    ours, theirs = socket.socketpair()

    async def main() -> None:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        use(Wire(transport))
        transport.close()

    with theirs:
        asyncio.run(main())
        return theirs.recv(1 << 16)


def test_who_is_let_in_is_told_so_and_is_inside_of_a_tunnel() -> None:
    one = gate()
    assert with_wire(lambda wire: one.connect(wire, HOST, 443)).startswith(b"HTTP/1.1 200 ")
    assert one.tunnel == Tunnel(HOST, 443, tls=True)


@pytest.mark.parametrize(
    ("host", "contexts", "reason"), [("shut.example.org", CONTEXTS, "not shut"), (HOST, None, "no tunnels")]
)
def test_who_is_not_let_in_is_told_why(host: str, contexts: Contexts | None, reason: str) -> None:
    one = gate(contexts)

    def refused(wire: Wire) -> None:
        with pytest.raises(BadHeadError, match=reason) as error:
            one.connect(wire, host, 443)
        assert error.value.status == 403

    assert with_wire(refused) == b""
    assert one.tunnel is None


@pytest.mark.parametrize(("octets", "tls"), [(b"GET / HTTP/1.1\r\n", False), (b"\x16\x03\x01", True)])
def test_the_first_byte_inside_tells_whether_tls_is_spoken(octets: bytes, *, tls: bool) -> None:
    one, inbox = gate(), Inbox()
    inbox.bytes += octets

    def sniff(wire: Wire) -> None:
        one.connect(wire, HOST, 443)
        assert one.sniff(wire, inbox) == (octets if tls else None)
        assert wire.secure is tls

    with_wire(sniff)
    assert bytes(inbox.bytes) == (b"" if tls else octets)
    assert one.tunnel is not None
    assert one.tunnel.tls is tls


def test_nobody_gets_inside_without_having_asked() -> None:
    inbox = Inbox()
    inbox.bytes += b"\x16"

    def sniff(wire: Wire) -> None:
        with pytest.raises(BadHeadError):
            gate().sniff(wire, inbox)

    with_wire(sniff)

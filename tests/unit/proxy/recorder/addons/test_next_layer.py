"""Strict HTTP/1.1, at most one tunnel of TLS, and nothing else is ever spoken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer
from mitmproxy.tls import ClientHello, ClientHelloData

from hermit_proxy.recorder.addons.intake import Intake
from hermit_proxy.recorder.addons.next_layer import NextLayer
from hermit_proxy.recorder.strict_http import StrictHttp1Server
from tests.support.workshop import CLIENT, context, workshop

ALLOW = "- {pattern: .*/.*, action: ALLOW}\n"
HELLO = b"\x16\x03\x01\x02\x00\x01"


def chosen(folder: Path, address: tuple[str, int] | None, first: bytes, *, in_tls: bool = False) -> layer.Layer | None:
    with workshop(folder, ALLOW) as shop:
        around = context(address)
        if in_tls:
            ServerTLSLayer(around)
            ClientTLSLayer(around)
        else:
            HttpLayer(around, HTTPMode.regular)
        asking = layer.NextLayer(around)
        asking.events.append(events.DataReceived(around.client, first))
        NextLayer(shop.shared, Intake(shop.shared, 1)).next_layer(asking)
        return cast("layer.Layer | None", asking.layer)


@pytest.mark.parametrize(
    ("address", "first", "in_tls", "mode"),
    [
        (None, b"GET", False, HTTPMode.regular),
        (None, HELLO, False, HTTPMode.regular),
        (("example.org", 443), b"GET", False, HTTPMode.transparent),
        (("example.org", 443), b"GET", True, HTTPMode.transparent),
        (("example.org", 443), HELLO, True, HTTPMode.transparent),
        (("example.org", 443), b"SSH-2.0-x", False, HTTPMode.transparent),
    ],
)
def test_what_is_not_the_first_tls_in_a_tunnel_is_read_as_strict_http(
    tmp_path: Path, address: tuple[str, int] | None, first: bytes, in_tls: bool, mode: HTTPMode
) -> None:
    found = chosen(tmp_path, address, first, in_tls=in_tls)
    assert isinstance(found, HttpLayer)
    assert found.mode is mode
    assert isinstance(found.connections[found.context.client], StrictHttp1Server)


def test_in_a_tunnel_tls_is_spoken_with_both_ends(tmp_path: Path) -> None:
    found = chosen(tmp_path, ("example.org", 443), HELLO)
    assert isinstance(found, ClientTLSLayer)
    assert found.context.server.tls


class Hello:
    def __init__(self, sni: str | None) -> None:
        self.sni = sni


@pytest.mark.parametrize(
    ("sni", "fault"),
    [
        ("example.org", False),
        ("EXAMPLE.org", False),
        (None, False),
        ("evil.example.org", True),
        ("127.0.0.1", True),
        ("a b", True),
    ],
)
def test_a_name_in_the_hello_that_is_not_the_one_of_connect_marks_the_tunnel(
    tmp_path: Path, sni: str | None, fault: bool
) -> None:
    with workshop(tmp_path, ALLOW) as shop:
        hear: Callable[[ClientHelloData], None] = NextLayer(shop.shared, Intake(shop.shared, 1)).tls_clienthello
        hear(ClientHelloData(context(("example.org", 443)), cast("ClientHello", Hello(sni))))
        assert (shop.shared.exchanges.tunnel_fault(CLIENT) is not None) == fault

"""A hook that is answered at once never leaves its layer, and a tunnel's outer layers are left when it stands."""

from __future__ import annotations

import pytest
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.test import tflow

from hermit_proxy.recorder.inplace import Commands, ConnectionContext, Next, in_place
from hermit_proxy.recorder.layeroptions import layer_options
from hermit_proxy.recorder.strict_http import strict_layer
from tests.fuzz.intake import Observer


class Hooks:
    """Stands for the connection."""

    def __init__(self, *later: str) -> None:
        self.ran: list[str] = []
        self.inner: layer.Layer | None = None
        self._later = later

    def run(self, hook: commands.StartHook) -> bool:
        self.ran.append(hook.name)
        return hook.name not in self._later

    def tunnelled(self, inner: layer.Layer) -> None:
        self.inner = inner


def around(hooks: Hooks) -> ConnectionContext:
    client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), state=ConnectionState.OPEN)
    return ConnectionContext(client, layer_options(), hooks)


def test_a_fork_has_layers_of_its_own_and_the_same_server() -> None:
    context = around(Hooks())
    fork = context.fork()
    fork.layers.append(Next(fork))
    assert (context.layers, fork.server, fork.hooks) == ([], context.server, context.hooks)


@pytest.mark.parametrize(
    ("later", "claimed", "passed"),
    [((), False, ["log"]), (("request",), False, ["request", "log"]), ((), True, ["request", "log"])],
    ids=["at once", "it has to wait", "a layer further up waits for it"],
)
def test_what_is_answered_at_once_is_not_passed_on(later: tuple[str, ...], claimed: bool, passed: list[str]) -> None:
    hooks = Hooks(*later)
    context = around(hooks)
    hook = layers.http.HttpRequestHook(tflow.tflow())
    if claimed:
        hook.blocking = Next(context)

    def asked() -> Commands:
        yield hook
        yield commands.Log("done")

    told = [getattr(command, "name", "log") for command in in_place(asked(), context)]
    assert told == passed
    assert hooks.ran == ([] if claimed else ["request"])


def test_a_tunnel_is_told_when_it_stands_and_its_hooks_have_run() -> None:
    hooks = Hooks()
    context = around(hooks)
    http = strict_layer(context, HTTPMode.regular, Observer(), lambda _reader: None)
    list(http.handle_event(events.Start()))
    head = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
    said = list(http.handle_event(events.DataReceived(context.client, head)))
    assert [command.data for command in said if isinstance(command, commands.SendData)] == [
        b"HTTP/1.1 200 Connection established\r\n\r\n"
    ]
    assert hooks.ran == ["http_connect", "http_connected"]
    assert isinstance(hooks.inner, Next)

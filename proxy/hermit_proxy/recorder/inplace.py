"""Runs an addon's answer to a hook where a layer asks for it, instead of in a task that enters all layers anew.

mitmproxy gives each hook a task, and takes its end through every layer down to the one that asked. Nearly all of ours
have their answer at once.
"""

from __future__ import annotations

from typing import Protocol

from mitmproxy import options
from mitmproxy.connection import Client
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import tls as tls_layers
from mitmproxy.proxy.layers.http import HttpStream

Commands = layer.CommandGenerator[None]


class Hooks(Protocol):
    """Is the connection, as its layers see it."""

    def run(self, hook: commands.StartHook) -> bool:
        """Run the addons of a hook if their answer is there at once; False where it has to be waited for."""

    def tunnelled(self, inner: layer.Layer) -> None:
        """Learn which layer all events are for once a CONNECT has been answered."""


class ConnectionContext(Context):
    """Is mitmproxy's context of one connection, whose forks make no server that nobody uses."""

    def __init__(self, client: Client, opts: options.Options, hooks: Hooks) -> None:
        """Take what all layers share."""
        super().__init__(client, opts)
        self.hooks = hooks

    def fork(self) -> ConnectionContext:
        """Copy it, with a list of layers of its own."""
        fork = object.__new__(type(self))
        fork.__dict__.update(self.__dict__, layers=self.layers.copy())
        return fork


def in_place(asked: Commands, context: Context) -> Commands:
    """Pass a layer's commands on, but for hooks of its own that are answered at once."""
    assert isinstance(context, ConnectionContext)  # noqa: S101  all layers of a recorder have one
    run, reply = context.hooks.run, None
    while True:
        try:
            command = asked.send(reply)
        except StopIteration:
            return
        # A layer further up that waits for its answer has put itself in place of True.
        if command.blocking is True and isinstance(command, commands.StartHook) and run(command):
            reply = None
        else:
            reply = yield command


class Next(layer.NextLayer):
    """Is mitmproxy's way to ask what is spoken."""

    def _handle_event(self, event: events.Event) -> Commands:
        return in_place(super()._handle_event(event), self.context)


class Stream(HttpStream):
    """Is one request."""

    def _handle_event(self, event: events.Event) -> Commands:
        return in_place(super()._handle_event(event), self.context)

    def handle_connect_regular(self) -> Commands:
        """Open a tunnel, and have the layers outside of it left out from then on: they only pass things on."""
        inner = self.child_layer = Next(self.context)
        yield from self.handle_connect_finish()  # type: ignore[no-untyped-call]  # mitmproxy is half typed
        if self._handle_event == self.passthrough:
            self.context.hooks.tunnelled(inner)  # type: ignore[attr-defined]  # in_place has looked


class ClientTLS(tls_layers.ClientTLSLayer):
    """Is the TLS that the client speaks."""

    def __init__(self, context: Context) -> None:
        """Take the context; what is inside is asked for."""
        super().__init__(context)
        self.child_layer = Next(self.context)

    def _handle_event(self, event: events.Event) -> Commands:
        return in_place(super()._handle_event(event), self.context)


class ServerTLS(tls_layers.ServerTLSLayer):
    """Is the TLS that upstream speaks."""

    def _handle_event(self, event: events.Event) -> Commands:
        return in_place(super()._handle_event(event), self.context)

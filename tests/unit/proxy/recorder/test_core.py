"""A recorder dials only where the open request was routed, bounds its clients, and ends every request with its line."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from mitmproxy.connection import Server

from hermit_proxy.recorder import core
from hermit_proxy.recorder.dialer import DialError
from hermit_proxy.recorder.exchange import Route
from hermit_proxy.run.events import Outcome
from tests.support.origin import Origin, text
from tests.support.recording import Recording, recording

ALLOW = '- {pattern: "127.0.0.1:.*/.*", action: ALLOW}\n'


def dialled(run: Recording, route: Route | None, server: Server, *, problem: bool = False) -> str:
    """Give the words with which a connection is not made."""

    async def scenario() -> str:
        exchange = run.recorder._exchanges.open("client", "GET", "http://example.org/")
        exchange.route = route
        if problem:
            exchange.refuse("no")
        try:
            with pytest.raises(DialError) as caught:
                await run.recorder._dial("client", server)
        finally:
            run.recorder._exchanges.close(exchange)
        return str(caught.value)

    return run.run(scenario())


@pytest.mark.parametrize(
    ("route", "address", "over_tls", "problem", "word"),
    [
        (None, ("example.org", 80), False, False, "nothing was decided"),
        (Route("http", "example.org", 80), None, False, False, "nothing was decided"),
        (Route("http", "example.org", 80), ("example.org", 80), False, True, "nothing was decided"),
        (Route("http", "example.org", 80), ("evil.example.org", 80), False, False, "decided was"),
        (Route("http", "example.org", 80), ("example.org", 81), False, False, "decided was"),
        (Route("https", "example.org", 443), ("example.org", 443), False, False, "decided was"),
        (Route("http", "127.0.0.1", 9), ("127.0.0.1", 9), False, False, "upstream.allow"),
    ],
)
def test_a_connection_is_made_only_to_where_the_open_request_was_routed(  # noqa: PLR0917  a table's columns
    tmp_path: Path,
    route: Route | None,
    address: tuple[str, int] | None,
    over_tls: bool,
    problem: bool,
    word: str,
) -> None:
    server = Server(address=address)
    server.tls = over_tls
    with recording(tmp_path, ALLOW, allow=()) as run:
        said = dialled(run, route, server, problem=problem)
        assert word in said + (run.last.hint or "")
        assert [event.outcome for event in run.events] in ([Outcome.REFUSED], [Outcome.FAILED])


def test_the_engine_of_our_own_is_reached_past_the_guard(tmp_path: Path) -> None:
    async def scenario(run: Recording, port: int) -> int:
        exchange = run.recorder._exchanges.open("client", "GET", "http://hermit.internal/")
        exchange.route = Route("http", "127.0.0.1", port, internal=True)
        _, writer = await run.recorder._dial("client", Server(address=("127.0.0.1", port)))
        writer.close()
        return int(writer.get_extra_info("peername")[1])

    with socket.create_server(("127.0.0.1", 0)) as server, recording(tmp_path, ALLOW, allow=()) as run:
        port = server.getsockname()[1]
        assert run.run(scenario(run, port)) == port


def test_one_client_too_many_is_hung_up_on_and_the_next_one_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "_MAX_CONNECTIONS", 1)
    with Origin() as plain, recording(tmp_path, ALLOW) as run:
        plain.route("/", text("x"))
        ask = f"GET {plain.url('127.0.0.1')} HTTP/1.1\r\nHost: 127.0.0.1:{plain.port}\r\n\r\n".encode()
        with run.client() as first:
            first.send(ask)
            assert first.receive().body == b"x"
            with run.client() as second:
                assert second.closed()
            first.send(ask)
            assert first.receive().body == b"x"


def test_a_run_that_ends_closes_what_is_under_way_with_a_line_and_takes_nobody_any_more(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, recording(tmp_path, ALLOW) as run, run.client() as client:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        client.send(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        silent.accept()
        run.run(run.recorder.finish(0))
        with suppress(ConnectionResetError):
            while client.sock.recv(4096):  # It ends, with or without words.
                pass
        assert [event.outcome for event in run.events] == [Outcome.FAILED]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", run.port), timeout=60)


def test_finishing_waits_for_an_answer_that_is_on_its_way(tmp_path: Path) -> None:
    async def scenario(run: Recording) -> list[bool]:
        exchange = run.recorder._exchanges.open("client", "GET", "http://example.org/")
        ending = asyncio.create_task(run.recorder.finish(60))
        for _ in range(5):
            await asyncio.sleep(0)
        waiting = not ending.done()
        run.recorder._exchanges.close(exchange)
        await ending
        return [waiting, ending.done()]

    with recording(tmp_path, ALLOW) as run:
        assert run.run(scenario(run)) == [True, True]


def test_what_is_still_open_when_the_grace_has_passed_has_its_line_too(tmp_path: Path) -> None:
    async def scenario(run: Recording) -> None:
        run.recorder._exchanges.open("client", "GET", "http://example.org/")
        await run.recorder.finish(0)

    with recording(tmp_path, ALLOW) as run:
        run.run(scenario(run))
        assert [(event.outcome, event.reason) for event in run.events] == [(Outcome.FAILED, "the run ended first")]

"""Only an address that was judged is ever connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.recorder.dialer import Dialer, DialError
from hermit_proxy.settings import load_settings
from hermit_proxy.upstream import guard


def dialer(*answers: list[str], allow: tuple[str, ...] = ()) -> tuple[Dialer, list[str]]:
    asked: list[str] = []

    async def resolver(host: str, _port: int) -> list[guard.Address]:
        asked.append(host)
        return [ipaddress.ip_address(text) for text in answers[min(len(asked), len(answers)) - 1]]

    return Dialer(guard.parse_allow(list(allow)), frozenset, resolver), asked


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["8.8.8.8", "10.0.0.1"], ["::1"]],
)
def test_a_name_with_one_refused_address_is_refused(addresses: list[str]) -> None:
    made, _ = dialer(addresses)
    with pytest.raises(DialError) as caught:
        asyncio.run(made.dial("rebinding.example.org", 443))
    assert caught.value.refused


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("intern.example.org", "10.0.0.1"),
        ("metadata.example.org", "169.254.169.254"),
    ],
)
def test_the_hint_of_a_refusal_opens_the_address_when_it_is_pasted_into_the_file_that_it_names(
    host: str, address: str, tmp_path: Path
) -> None:
    made, _ = dialer([address])
    file = tmp_path / "config.yaml"
    with pytest.raises(DialError) as caught:
        asyncio.run(replace(made, settings_file=str(file)).dial(host, 443))
    first, pasted = (caught.value.hint or "").split("\n", 1)
    assert str(file) in first
    file.write_text(pasted + "\n")
    allow = load_settings(file, {}).allow
    assert guard.refusal(ipaddress.ip_address(address), allow, frozenset(), host=host, port=443) is None


def test_a_name_is_resolved_once_and_the_judged_address_is_dialled() -> None:
    async def scenario() -> tuple[str, list[str]]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            made, asked = dialer(["127.0.0.1"], ["10.0.0.1"], allow=("a.example.org",))
            _, writer = await made.dial("a.example.org", server.getsockname()[1])
            peer = writer.get_extra_info("peername")[0]
            writer.close()
            return peer, asked

    assert asyncio.run(scenario()) == ("127.0.0.1", ["a.example.org"])


def test_the_next_address_is_tried_where_the_first_does_not_answer() -> None:
    async def scenario() -> str:
        with socket.create_server(("127.0.0.1", 0)) as server:
            made, _ = dialer(["127.0.0.2", "127.0.0.1"], allow=("a.example.org",))
            _, writer = await made.dial("a.example.org", server.getsockname()[1])
            peer: str = writer.get_extra_info("peername")[0]
            writer.close()
            return peer

    assert asyncio.run(scenario()) == "127.0.0.1"


def test_own_addresses_are_refused() -> None:
    own = frozenset({ipaddress.ip_address("93.184.216.34")})

    async def resolver(_host: str, _port: int) -> list[guard.Address]:
        return list(own)

    with pytest.raises(DialError, match="this machine itself"):
        asyncio.run(Dialer(guard.Allow(), lambda: own, resolver).dial("me.example.org", 80))


def test_this_machines_addresses_are_asked_for_only_where_they_decide() -> None:
    asked: list[str] = []

    def own() -> frozenset[guard.Address]:
        asked.append("own")
        return frozenset()

    async def resolver(_host: str, _port: int) -> list[guard.Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    for allow, expected in (("127.0.0.1", []), ("192.0.2.1", ["own"])):
        asked.clear()
        with pytest.raises(DialError):
            asyncio.run(Dialer(guard.parse_allow([allow]), own, resolver)._dial("a.example.org", 1))
        assert asked[:1] == expected


def test_a_name_without_addresses_and_a_closed_port_fail_in_words() -> None:
    made, _ = dialer([])
    with pytest.raises(DialError, match="no address"):
        asyncio.run(made.dial("nothing.example.org", 80))
    made, _ = dialer(["127.0.0.1"], allow=("a.example.org",))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DialError, match="cannot be reached") as caught:
        asyncio.run(made.dial("a.example.org", port))
    assert not caught.value.refused


def test_a_thousand_connections_to_one_host_are_dialled_a_few_at_once_and_those_to_another_do_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = under_way = 0

    async def scenario() -> None:
        released = asyncio.Event()

        async def connect(_addresses: list[guard.Address], host: str, _port: int) -> None:
            nonlocal most, under_way
            if host == "many.example.org":
                under_way += 1
                most = max(most, under_way)
                await released.wait()
                under_way -= 1

        monkeypatch.setattr("hermit_proxy.recorder.dialer._connect_first", connect)
        made, _ = dialer(["10.0.0.1"], allow=("many.example.org", "one.example.org"))
        many = [asyncio.create_task(made.dial("many.example.org", 443)) for _ in range(1000)]
        await asyncio.sleep(0)
        await asyncio.wait_for(made.dial("one.example.org", 443), 30)
        released.set()
        await asyncio.gather(*many)

    asyncio.run(scenario())
    assert 1 < most < 50


def test_a_resolver_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermit_proxy.recorder.dialer._RESOLVE_SECONDS", 0.01)

    async def resolver(_host: str, _port: int) -> list[guard.Address]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(DialError, match=r"a\.example\.org cannot be resolved: no answer within"):
        asyncio.run(Dialer(guard.Allow(), frozenset, resolver).dial("a.example.org", 443))

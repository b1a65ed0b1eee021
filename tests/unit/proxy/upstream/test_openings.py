"""What a refusal says would open an address is read back, and gathered for all of a run."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from pathlib import Path

import pytest

from hermit_proxy.recorder.dialer import Dialer, DialError
from hermit_proxy.upstream import guard, openings


def refused(host: str, address: str, file: str) -> str | None:
    async def resolver(_host: str, _port: int) -> list[guard.Address]:
        return [ipaddress.ip_address(address)]

    with pytest.raises(DialError) as caught:
        asyncio.run(Dialer(guard.Allow(), frozenset, resolver, file).dial(host, 443))
    return caught.value.hint


@pytest.mark.parametrize(
    ("host", "address", "item"),
    [
        ("a.example.org", "10.0.0.1", "a.example.org:443"),
        ("metadata.example.org", "169.254.169.254", "169.254.169.254:443"),
        ("::1", "::1", "[::1]:443"),
    ],
)
def test_the_recorders_own_hint_is_read(host: str, address: str, item: str) -> None:
    assert openings.read(refused(host, address, "/my settings/config.yaml")) == (
        Path("/my settings/config.yaml"),
        item,
    )


@pytest.mark.parametrize(
    "hint", [None, "", "a rule", "upstream.allow opens it; in /x", "upstream.allow opens it; in /x:\n-"]
)
def test_other_hints_are_none(hint: str | None) -> None:
    assert openings.read(hint) is None


def test_all_hosts_of_a_run_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("upstream:\n  allow:\n    - there.example.org\n")
    hints = [openings.hint(str(file), f"{name}.example.org:443") for name in ("b", "a", "b")]
    found = openings.gathered(["a rule", *hints, None])
    assert found == (file, ["b.example.org:443", "a.example.org:443"])
    assert openings.told(*found) == (
        f"if you trust them, add below {file}:3:\n    - b.example.org:443\n    - a.example.org:443"
    )
    assert openings.gathered(["a rule", None]) is None


ADDRESSES = {
    "private.example.org": ["10.0.0.1", "10.0.0.2"],
    "public.example.org": ["8.8.8.8"],
    "metadata.example.org": ["169.254.169.254"],
    "mapped.example.org": ["::ffff:127.0.0.1"],
    "mine.example.org": ["93.184.216.34"],
    "open.example.org": ["10.0.0.3"],
}


def test_hosts_that_nobody_asked_yet_are_looked_up() -> None:
    own = frozenset({ipaddress.ip_address("93.184.216.34")})

    def resolve(host: str) -> list[guard.Address]:
        if host not in ADDRESSES:
            raise OSError("no such host")
        return [ipaddress.ip_address(text) for text in ADDRESSES[host]]

    allow = guard.parse_allow(["open.example.org"])
    found = openings.needed([*ADDRESSES, "nowhere.example.org"], allow, own, seconds=5, resolve=resolve)
    assert found == ["private.example.org", "169.254.169.254", "mine.example.org"]


def test_a_resolver_that_does_not_answer_holds_up_nobody() -> None:
    never = threading.Event()

    def resolve(host: str) -> list[guard.Address]:
        if host == "slow.example.org":
            never.wait(60)
        return [ipaddress.ip_address("10.0.0.1")]

    hosts = ["slow.example.org", "a.example.org"]
    assert openings.needed(hosts, guard.Allow(), frozenset(), seconds=0.2, resolve=resolve) == ["a.example.org"]
    never.set()


def test_hosts_of_many_rules_are_looked_up_by_few_threads() -> None:
    names: set[str] = set()

    def resolve(host: str) -> list[guard.Address]:
        names.add(threading.current_thread().name)
        return [ipaddress.ip_address("10.0.0.1")] if host == "h1999.example.org" else []

    hosts = [f"h{number}.example.org" for number in range(2000)]
    assert openings.needed(hosts, guard.Allow(), frozenset(), seconds=30, resolve=resolve) == hosts[-1:]
    assert len(names) <= 32

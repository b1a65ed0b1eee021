"""Tests that a repeated request is answered and logged as at first, and asked anew where anything may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hermit_proxy.policy import Mode
from hermit_proxy.replayer import repeats as module
from hermit_proxy.replayer.arrival import read_request
from hermit_proxy.replayer.front import Front
from hermit_proxy.replayer.limits import Limits
from hermit_proxy.replayer.site import Incoming, Reply
from hermit_proxy.run.events import RequestEvent, read_log
from hermit_proxy.run.session import LOG_NAME, Session
from tests.support.replaying import HOST, Project

BODY = b"the body"
PATHS = ("/a", "/b")


async def _awaited(reply: Awaitable[Reply]) -> Reply:
    return await reply


class House:
    """Is a front with its session."""

    def __init__(self, folder: Path) -> None:
        project = Project(folder / "project")
        for path in PATHS:
            project.add(f"http://{HOST}{path}", BODY + path.encode())
        self.rundir = folder / "run"
        self.rundir.mkdir()
        project.settings().write(self.rundir)
        self.session = Session.load(self.rundir, Mode.HERMETIC)
        self.front = Front(self.session, b"", ThreadPoolExecutor(1), Limits())

    def ask(self, raw: bytes) -> bytes:
        """Ask for the first time; give the whole answer."""
        incoming = read_request(raw, None)
        assert isinstance(incoming, Incoming)
        reply = self.front.respond(incoming, None)
        if not isinstance(reply, Reply):  # some file systems (tmpfs) do not say what is in memory
            reply = asyncio.run(_awaited(reply))
        reply.done(len(reply.body), None)
        return reply.answer.head(close=False) + reply.body

    @property
    def lines(self) -> list[RequestEvent]:
        return list(read_log(self.rundir / LOG_NAME))


def raw(path: str = "/a", method: str = "GET", *headers: str) -> bytes:
    return "\r\n".join([f"{method} http://{HOST}{path} HTTP/1.1", f"Host: {HOST}", *headers, "", ""]).encode()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.session.close()


@pytest.mark.parametrize(
    "octets", [raw(), raw("/a", "HEAD"), raw("/a", "GET", "Range: bytes=2-3"), raw("/b", "GET", "Accept: */*")]
)
def test_a_repeated_request_gets_the_same_bytes_and_the_same_line(house: House, octets: bytes) -> None:
    assert house.front.again(octets, None) is None
    house.session.begin_step("compile", "proxy")
    first = house.ask(octets)
    assert [house.front.again(octets, None) for _ in range(2)] == [first, first]
    one, *others = [replace(line, time=0, duration=0) for line in house.lines]
    assert others == [one, one]
    assert one.step == "compile"
    times = [line.time for line in house.lines]
    assert times == sorted(times)
    assert times[0] > 0
    assert house.session.counts.requests == 3
    assert house.session.counts.bytes == 3 * one.size


@pytest.mark.parametrize("octets", [raw("/a", "GET", "Connection: close"), raw("/a", "GET", "A: " + "b" * 2048)])
def test_what_its_bytes_do_not_tell_all_of_is_read_each_time(house: House, octets: bytes) -> None:
    house.ask(octets)
    assert house.front.again(octets, None) is None


def test_nothing_outlives_a_change_of_policy(house: House) -> None:
    house.ask(raw())
    house.session.begin_step("offline", "none")
    assert house.front.again(raw(), None) is None


def test_a_body_that_is_no_longer_in_memory_is_verified_anew(house: House) -> None:
    house.ask(raw())
    house.front._bodies._kept.clear()
    assert house.front.again(raw(), None) is None
    assert len(house.lines) == 1


def test_a_refusal_is_decided_each_time(house: House) -> None:
    house.ask(raw("/missing"))
    assert house.front.again(raw("/missing"), None) is None


def test_requests_are_not_remembered_without_bounds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    for number in range(5):
        house.ask(raw("/a", "GET", f"A: {number}"))
    assert len(house.front._hot._known) <= 2

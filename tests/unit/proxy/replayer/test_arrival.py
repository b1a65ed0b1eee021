"""Tests what is read out of a request's head, and that a body goes where it belongs."""

from __future__ import annotations

import pytest

from hermit_proxy.recorder.head import BadHeadError
from hermit_proxy.replayer.arrival import Arrival, read_request
from hermit_proxy.replayer.sinks import Budget, MemorySink
from hermit_proxy.replayer.site import Incoming

HOST = "x.example.org"


def read(line: str, *headers: str, host: str = HOST) -> Incoming | tuple[str, int]:
    return read_request("\r\n".join([line, f"Host: {host}", *headers, "", ""]).encode(), None)


def request(line: str, *headers: str) -> Incoming:
    found = read(line, *headers)
    assert isinstance(found, Incoming)
    return found


@pytest.mark.parametrize(
    ("version", "headers", "length", "keep_alive"),
    [
        ("1.1", (), 0, True),
        ("1.1", ("Connection: close",), 0, False),
        ("1.1", ("Connection: x, Close",), 0, False),
        ("1.1", ("Connection: closed",), 0, True),
        ("1.0", (), 0, False),
        ("1.1", ("Content-Length: 5",), 5, True),
        ("1.1", ("Transfer-Encoding: chunked",), None, True),
    ],
)
def test_a_head_says_what_follows_and_whether_the_connection_stays(
    version: str, headers: tuple[str, ...], length: int | None, *, keep_alive: bool
) -> None:
    found = request(f"PUT http://{HOST}/a HTTP/{version}", *headers)
    assert (found.method, found.target.path, found.length, found.keep_alive) == ("PUT", "/a", length, keep_alive)


def test_a_connect_is_a_host_and_a_port_and_has_no_body() -> None:
    assert read(f"CONNECT {HOST}:443 HTTP/1.1", host=f"{HOST}:443") == (HOST, 443)
    with pytest.raises(BadHeadError, match="CONNECT with a body"):
        read(f"CONNECT {HOST}:443 HTTP/1.1", "Content-Length: 1", host=f"{HOST}:443")


@pytest.mark.parametrize(
    ("headers", "octets", "rest"),
    [(("Content-Length: 5",), b"hello+", b"+"), (("Transfer-Encoding: chunked",), b"5\r\nhello\r\n0\r\n\r\n+", b"+")],
)
def test_a_body_is_taken_to_its_end_and_no_further(headers: tuple[str, ...], octets: bytes, rest: bytes) -> None:
    sink = MemorySink(Budget(100), 100)
    arrival = Arrival(request(f"PUT http://{HOST}/a HTTP/1.1", *headers), sink)
    inbox = bytearray()
    ends = []
    for octet in octets:
        inbox.append(octet)
        if not ends or not ends[-1]:
            ends.append(arrival.read(inbox))
    assert ends == [False] * (len(ends) - 1) + [True]
    assert (bytes(sink.data), bytes(inbox)) == (b"hello", rest)


@pytest.mark.parametrize(
    ("version", "headers", "awaits"),
    [
        ("1.1", ("Expect: 100-continue",), True),
        ("1.0", ("Expect: 100-continue",), False),
        ("1.1", (), False),
    ],
)
def test_only_who_asks_and_would_understand_is_told_to_go_on(
    version: str, headers: tuple[str, ...], *, awaits: bool
) -> None:
    incoming = request(f"PUT http://{HOST}/a HTTP/{version}", "Content-Length: 5", *headers)
    assert Arrival(incoming, MemorySink(Budget(100), 100)).awaits_word is awaits

"""Tests the TLS end against Python's own client, byte streams between them, no sockets."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from hermit_proxy.replayer.tls import Contexts, Tls
from hermit_proxy.run.ca import RunCA

HOST = "files.example.org"
CA = RunCA.create()


class Client:
    """Is a client's end of TLS; `talk` carries bytes both ways until nothing moves."""

    def __init__(self, server: Tls, name: str | None, **options: object) -> None:
        self.server = server
        context = ssl.create_default_context(cadata=CA.cert_pem.decode())
        context.check_hostname = name is not None
        for option, value in options.items():
            setattr(context, option, value)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.end = context.wrap_bio(self._in, self._out, server_hostname=name)
        self.heard = b""

    def talk(self, step: Callable[[], object]) -> object:
        for _ in range(10):
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                if sent := self._out.read():
                    self.heard += self.server.feed(sent)
                self._in.write(self.server.pending())
        raise AssertionError("no end of talking")


def test_bytes_go_both_ways() -> None:
    server = Tls(Contexts(CA).for_host(HOST))
    client = Client(server, HOST)
    client.talk(client.end.do_handshake)
    assert server.open
    client.talk(lambda: client.end.write(b"x" * 100_000))
    assert client.heard == b"x" * 100_000
    client._in.write(server.encrypt(b"y" * 10))
    assert client.end.read(100) == b"y" * 10
    client._in.write(server.close())
    assert client.end.read(1) == b""


def test_a_farewell_is_noticed() -> None:
    server = Tls(Contexts(CA).for_host(HOST))
    client = Client(server, HOST)
    client.talk(client.end.do_handshake)
    assert not server.ended
    with pytest.raises(ssl.SSLWantReadError):  # It has said its farewell and waits for the other.
        client.end.unwrap()
    assert server.feed(client._out.read()) == b""
    assert server.ended


def test_another_name_is_a_fault_with_a_certificate_that_lets_it_be_read() -> None:
    server = Tls(Contexts(CA).for_host(HOST))
    client = Client(server, "Other.example.org")
    client.talk(client.end.do_handshake)
    assert server.fault == f"CONNECT names {HOST}, TLS names other.example.org"


def test_the_same_name_in_capitals_is_no_fault() -> None:
    server = Tls(Contexts(CA).for_host(HOST))
    client = Client(server, HOST.upper())
    client.talk(client.end.do_handshake)
    assert server.fault is None


def test_a_client_that_names_no_host_is_served() -> None:
    server = Tls(Contexts(CA).for_host("192.0.2.7"))
    client = Client(server, None)
    client.talk(client.end.do_handshake)
    assert server.fault is None


def test_a_name_that_is_none_ends_the_handshake() -> None:
    server = Tls(Contexts(CA).for_host(HOST))
    client = Client(server, "a/b.example.org")
    with pytest.raises(ssl.SSLError):
        client.talk(client.end.do_handshake)
    assert server.fault == "a server name in TLS that is no host name"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_refused() -> None:
    server = Tls(Contexts(CA).for_host(HOST))
    client = Client(server, HOST, maximum_version=ssl.TLSVersion.TLSv1_1, minimum_version=ssl.TLSVersion.TLSv1)
    with pytest.raises(ssl.SSLError):
        client.talk(client.end.do_handshake)


@pytest.mark.parametrize("octets", [b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n", bytes(100)])
def test_what_is_not_tls_is_an_error(octets: bytes) -> None:
    with pytest.raises(ssl.SSLError):
        Tls(Contexts(CA).for_host(HOST)).feed(octets)


def test_contexts_are_kept_within_bounds() -> None:
    contexts = Contexts(CA)
    first = contexts.for_host("h0.example.org")
    assert contexts.for_host("h0.example.org") is first
    for number in range(1, 260):
        contexts.for_host(f"h{number}.example.org")
    assert len(contexts._known) == 256
    assert contexts.for_host("h0.example.org") is not first

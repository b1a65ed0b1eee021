"""Our end of a TLS connection behaves as mitmproxy's layers expect of OpenSSL's."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from OpenSSL import SSL

from hermit_proxy.recorder.endpoint import TlsEndpoint
from hermit_proxy.recorder.leaves import LeafContexts
from hermit_proxy.run.ca import RunCA


def move(sender: TlsEndpoint, receiver: TlsEndpoint) -> bool:
    try:
        receiver.bio_write(sender.bio_read(1))
    except SSL.WantReadError:
        return False
    return True


def shake(client: TlsEndpoint, server: TlsEndpoint) -> None:
    for _ in range(10):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            finally:
                move(one, other)


def pair(folder: Path, *, host: str = "example.org", verified: str = "example.org") -> tuple[TlsEndpoint, TlsEndpoint]:
    authority = RunCA.create()
    (folder / "ca.pem").write_bytes(authority.cert_pem)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.set_alpn_protocols(["http/1.1"])
    server = TlsEndpoint(LeafContexts(authority)(host), server_side=True)
    return TlsEndpoint(context, server_side=False, server_hostname=verified), server


def test_both_ends_shake_hands_and_say_what_they_agreed_on(tmp_path: Path) -> None:
    client, server = pair(tmp_path)
    with pytest.raises(SSL.WantReadError):
        client.bio_read(1)
    shake(client, server)
    assert client.get_alpn_proto_negotiated() == server.get_alpn_proto_negotiated() == b"http/1.1"
    assert client.get_protocol_version_name() == "TLSv1.3"
    assert client.get_cipher_name()
    assert (client.get_peer_certificate(), client.get_peer_cert_chain()) == (None, [])


def test_a_session_goes_on_with_another_connection(tmp_path: Path) -> None:
    authority = RunCA.create()
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem)
    trusting, leaf = ssl.create_default_context(cafile=str(tmp_path / "ca.pem")), LeafContexts(authority)("example.org")
    session = None
    for reused in (False, True, True):
        client = TlsEndpoint(trusting, server_side=False, server_hostname="example.org", session=session)
        shake(client, TlsEndpoint(leaf, server_side=True))
        with pytest.raises(SSL.WantReadError):
            client.recv(1)
        assert client._tls.session_reused == reused
        session = session or client.session
        assert session is not None


@pytest.mark.parametrize("host", ["other.example.org", "192.0.2.1"])
def test_a_server_with_another_name_fails_in_words(tmp_path: Path, host: str) -> None:
    client, server = pair(tmp_path, host=host)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        shake(client, server)


def test_an_authority_that_nobody_trusts_fails_in_words(tmp_path: Path) -> None:
    client, _ = pair(tmp_path)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        shake(client, TlsEndpoint(LeafContexts(RunCA.create())("example.org"), server_side=True))


def test_what_is_not_tls_is_an_error(tmp_path: Path) -> None:
    client, _ = pair(tmp_path)
    client.bio_write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(SSL.Error):
        client.do_handshake()


def test_one_call_gives_all_that_has_come(tmp_path: Path) -> None:
    client, server = pair(tmp_path)
    shake(client, server)
    with pytest.raises(SSL.WantReadError):
        client.recv(1)
    data = bytes(range(256)) * 400
    server.sendall(data)
    server.sendall(data)
    while move(server, client):
        pass
    assert client.recv(1) == data * 2
    with pytest.raises(SSL.WantReadError):
        client.recv(1)
    assert client.get_shutdown() == 0


def test_what_is_larger_than_a_buffer_goes_out_in_order_and_leaves_no_large_buffer_behind(tmp_path: Path) -> None:
    client, server = pair(tmp_path)
    shake(client, server)
    data = bytes(range(256)) * 4000 + b"end"
    server.sendall(data)
    assert server._outgoing.pending == 0
    got = b""
    while move(server, client):
        got += client.recv(1)
    assert got == data


def test_only_close_notify_is_the_peers_own_end_and_what_came_before_it_is_given_first(tmp_path: Path) -> None:
    client, server = pair(tmp_path)
    shake(client, server)
    server.sendall(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        server._tls.unwrap()
    while move(server, client):
        pass
    assert client.recv(1) == b"last"
    assert client.closed_by_peer
    with pytest.raises(SSL.ZeroReturnError):
        client.recv(1)
    assert client.get_shutdown() == SSL.RECEIVED_SHUTDOWN


def test_a_record_that_was_tampered_with_is_an_error(tmp_path: Path) -> None:
    client, server = pair(tmp_path)
    shake(client, server)
    server.sendall(b"x" * 100)
    record = bytearray(server.bio_read(1))
    record[50] ^= 1
    client.bio_write(bytes(record))
    with pytest.raises(SSL.Error):
        client.recv(1)
    assert not client.closed_by_peer

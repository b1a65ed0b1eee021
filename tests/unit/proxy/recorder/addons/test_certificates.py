"""Clients see a leaf for the host that they ask for; servers are verified by the name that was decided on."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from mitmproxy import http, tls

from hermit_proxy.recorder.addons import certificates
from hermit_proxy.recorder.addons.certificates import Certificates, upstream_context
from hermit_proxy.recorder.endpoint import TlsEndpoint
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.events import Outcome
from tests.support.workshop import CLIENT, Workshop, context, problem, workshop

ALLOW = "- {pattern: .*/.*, action: ALLOW}\n"


def addon(shop: Workshop) -> tuple[Certificates, list[str]]:
    asked: list[str] = []

    def for_host(host: str) -> ssl.SSLContext:
        asked.append(host)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    return Certificates(shop.shared, ssl.create_default_context(), for_host), asked


def test_servers_are_verified_by_name_and_authority_and_offered_one_protocol(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(RunCA.create().cert_pem)
    made = upstream_context(tmp_path / "ca.pem")
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(made.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("sni", "address", "host"),
    [
        ("a.example.org", ("b.example.org", 443), "a.example.org"),
        (None, ("192.0.2.1", 443), "192.0.2.1"),
        (None, None, None),
    ],
)
def test_the_client_sees_who_it_asked_for(
    tmp_path: Path, sni: str | None, address: tuple[str, int] | None, host: str | None
) -> None:
    with workshop(tmp_path, ALLOW) as shop:
        made, asked = addon(shop)
        data = tls.TlsData(context().client, context(address))
        data.context.client.sni = sni
        made.tls_start_client(data)
        assert asked == ([host] if host else [])
        assert (data.ssl_conn is not None) == (host is not None)


def test_the_server_has_to_be_the_one_of_the_request_and_its_end_is_watched(tmp_path: Path) -> None:
    with workshop(tmp_path, ALLOW) as shop:
        made, _ = addon(shop)
        around = context(("a.example.org", 443))
        data = tls.TlsData(around.server, around)
        made.tls_start_server(data)
        endpoint: object = data.ssl_conn
        assert isinstance(endpoint, TlsEndpoint)
        assert around.server.sni == endpoint._tls.server_hostname == "a.example.org"
        assert shop.connection.told == [(around.server, endpoint)]


class OneEnd:
    """Stands for a client's connection whose ends to upstream all have one session."""

    def __init__(self, session: object) -> None:
        self.session = session

    def endpoint(self, _connection: object) -> OneEnd:
        return self

    def watch(self, _connection: object, _endpoint: object) -> None:
        """Take nothing."""


def answered(shop: Workshop, session: object) -> tuple[Certificates, http.HTTPFlow]:
    """Have an answer under way from a.example.org, on a connection that has this session."""
    made, _ = addon(shop)
    shop.shared.connections[CLIENT] = OneEnd(session)  # type: ignore[assignment]  # what is called it has
    flow, _ = shop.flow("https://a.example.org/")
    flow.server_conn.tls, flow.server_conn.address = True, ("a.example.org", 443)
    return made, flow


@pytest.mark.parametrize(
    ("other", "resumed"),
    [(("a.example.org", 443), True), (("a.example.org", 444), False), (("b.example.org", 443), False)],
)
def test_a_session_is_kept_for_the_server_that_was_verified_and_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: tuple[str, int], resumed: bool
) -> None:
    session, given = object(), []
    monkeypatch.setattr(certificates, "TlsEndpoint", lambda *_, session, **__: given.append(session))
    with workshop(tmp_path, ALLOW) as shop:
        made, flow = answered(shop, session)
        made.responseheaders(flow)
        for address in (("a.example.org", 443), other):
            around = context(address)
            made.tls_start_server(tls.TlsData(around.server, around))
    assert given == [session, session if resumed else None]


def test_a_server_that_fails_where_a_session_goes_on_gets_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some take a ticket and then end the handshake: OpenSSL's without a session id context, say."""
    session, given = object(), []
    monkeypatch.setattr(certificates, "TlsEndpoint", lambda *_, session, **__: given.append(session))
    with workshop(tmp_path, ALLOW) as shop:
        made, flow = answered(shop, session)
        for _ in range(2):
            made.responseheaders(flow)
            around = context(("a.example.org", 443))
            data = tls.TlsData(around.server, around)
            made.tls_start_server(data)
            made.tls_failed_server(data)
    assert given == [session, None]


def test_a_server_that_is_not_believed_fails_the_request_in_words(tmp_path: Path) -> None:
    with workshop(tmp_path, ALLOW) as shop:
        made, _ = addon(shop)
        _, exchange = shop.flow("https://a.example.org/")
        data = tls.TlsData(context().server, context(("a.example.org", 443)))
        data.conn.error = "OpenSSL Error('certificate verify failed: expired')"
        made.tls_failed_server(data)
        assert exchange.problem is not None
        assert exchange.problem.reason == "TLS with a.example.org:443: certificate verify failed: expired"
        assert problem(exchange) == ("failed", 502)


@pytest.mark.parametrize("known", [False, True], ids=["nothing asked yet", "in a request"])
def test_a_client_that_does_not_trust_us_has_one_line(tmp_path: Path, known: bool) -> None:
    with workshop(tmp_path, ALLOW) as shop:
        made, _ = addon(shop)
        if known:
            shop.flow("https://a.example.org/")
        made.tls_failed_client(tls.TlsData(context().client, context(("a.example.org", 443))))
        lines = shop.log
        assert [(line.method, line.outcome) for line in lines] == ([] if known else [("CONNECT", Outcome.FAILED)])
        assert all("ca.pem" in (line.hint or "") for line in lines)
        assert (shop.shared.exchanges.current(CLIENT) is not None) == known

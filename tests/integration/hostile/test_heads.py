"""Attacks by the shape of a request: what two readers could read in two ways, and what names a host or path falsely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hermit_proxy.run.events import Outcome, RequestEvent
from tests.integration.hostile.rows import attack
from tests.integration.hostile.siege import EVIL, GOOD, OPEN_RULES, OTHER, Proxy, World
from tests.integration.hostile.wire import Reply, ask
from tests.support.hermit import need_namespaces
from tests.support.testca import TestCA


@dataclass
class Front:
    """Is one proxy, kept over all attacks of this file, with an origin that must hear nothing of them."""

    world: World
    proxy: Proxy

    @property
    def at(self) -> str:
        """Give the authority of an origin that the rules admit and the operator has opened."""
        return self.world.origin.authority(EVIL)

    def raw(self, text: str | bytes, method: str = "GET") -> Reply:
        """Send octets in which AT stands for that authority."""
        octets = text.encode("latin-1") if isinstance(text, str) else text
        return self.proxy.send(octets.replace(b"AT", self.at.encode()), method=method)

    def refused(self, text: str | bytes, status: int | tuple[int, ...] = 400, reason: str = "") -> RequestEvent:
        """See that octets are refused, logged once, that nothing came of them upstream and that the proxy lives."""
        reply = self.raw(text)
        assert reply.refused, (text, reply)
        assert reply.status in (status if isinstance(status, tuple) else (status,)), (text, reply)
        event = self.proxy.verdict(Outcome.REFUSED, reason)
        assert self.arrived() == [], text
        return event

    def arrived(self) -> list[str]:
        """Give what upstream heard of but the honest client."""
        return [f"{asked.method} {asked.target}" for asked in self.world.origin.asked if asked.path != "/good"]

    def tunnel(self, text: str, *, host: str = EVIL, sni: str | None = None) -> Reply:
        """Send octets inside a tunnel of TLS."""
        with self.proxy.client() as client:
            assert client.connect(f"{host}:443").status == 200
            client.tls(self.proxy.ca, sni or host, verify=sni is None)
            return client.send(text.encode("latin-1")).reply()


@pytest.fixture(scope="module", params=["record", "hermetic"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ca: TestCA) -> Iterator[Front]:
    need_namespaces()
    with World(tmp_path_factory.mktemp("heads") / "world", trust=ca.ca) as world, world.start(request.param) as proxy:
        yield Front(world, proxy)


@pytest.fixture
def front(kept: Front) -> Front:
    kept.proxy.verdicts(0)
    kept.world.origin.forget()
    return kept


def post(*headers: str, body: str = "") -> str:
    return "\r\n".join(["POST http://AT/evil HTTP/1.1", "Host: AT", *headers, "", body])


SMUGGLED = "GET http://AT/smuggled HTTP/1.1\r\nHost: AT\r\n\r\n"


@attack("length-and-chunks")
def test_two_framings_at_once_are_refused(front: Front) -> None:
    for headers in (
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
        ("content-length: 0", "TRANSFER-ENCODING: chunked"),
        ("Content-Length: 4", "Transfer-Encoding: identity"),
        ("Content-Length: 4", "Transfer-Encoding:\tchunked"),
    ):
        front.refused(post(*headers, body=f"0\r\n\r\n{SMUGGLED}"), 400, "both")


@attack("odd-lengths")
def test_a_length_that_is_not_one_plain_number_is_refused(front: Front) -> None:
    for headers in (
        ("Content-Length: 4", "Content-Length: 4"),
        ("Content-Length: 4", "Content-Length: 90"),
        ("Content-Length: 4, 4",),
        ("Content-Length: +4",),
        ("Content-Length: -1",),
        ("Content-Length: 0x4",),
        ("Content-Length: 04",),
        ("Content-Length: 4 4",),
        ("Content-Length: ",),
        ("Content-Length: 99999999999999999999",),
        ("Content-Length: \xb2",),
    ):
        front.refused(post(*headers, body=f"body{SMUGGLED}"), 400)


@attack("odd-codings")
def test_a_transfer_coding_but_plain_chunked_is_refused(front: Front) -> None:
    for headers in (
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: cow"),
        ("Transfer-Encoding: \x0bchunked",),
        ('Transfer-Encoding: "chunked"',),
        ("Transfer-Encoding : chunked",),
        (" Transfer-Encoding: chunked",),
        ("X: y", " Transfer-Encoding: chunked"),
        ("Transfer\x00-Encoding: chunked",),
        ("Transfer_Encoding\x20: chunked",),
    ):
        front.refused(post(*headers, body=f"0\r\n\r\n{SMUGGLED}"), 400)
    front.refused(post("Transfer-Encoding: chunked", body="0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0", 1), 400)


@attack("odd-chunks")
def test_a_chunk_that_is_not_what_it_says_ends_the_connection(front: Front) -> None:
    for body in (
        f"-1\r\n\r\n{SMUGGLED}",
        f"0x4\r\nbody\r\n0\r\n\r\n{SMUGGLED}",
        f"4\r\nbodyXX\r\n0\r\n\r\n{SMUGGLED}",
        f"zz\r\n\r\n{SMUGGLED}",
        f"4 ;\r\nbody\r\n0\r\n\x00\r\n{SMUGGLED}",
    ):
        reply = front.raw(post("Transfer-Encoding: chunked", "Connection: close", body=body))
        assert reply.status in {0, 400, 413, 502}, (body, reply)
        event = front.proxy.verdicts()[0]
        assert event.outcome in {Outcome.REFUSED, Outcome.FAILED}, (body, event)
        assert event.reason
        assert front.arrived() == [], body


@attack("bare-line-ends")
def test_a_line_ends_with_cr_lf_or_the_request_does(front: Front) -> None:
    for text in (
        "GET http://AT/evil HTTP/1.1\nHost: AT\n\n",
        "GET http://AT/evil HTTP/1.1\r\nHost: AT\nX: y\r\n\r\n",
        "GET http://AT/evil HTTP/1.1\r\nHost: AT\r\nX: y\rGET http://AT/smuggled HTTP/1.1\r\n\r\n",
        "GET http://AT/evil HTTP/1.1\r\nHost: AT\r\nX: a\n\nGET http://AT/smuggled HTTP/1.1\r\n\r\n",
        "GET http://AT/evil HTTP/1.1\r\r\nHost: AT\r\n\r\n",
    ):
        front.refused(text, 400)


@attack("folded-lines")
def test_a_header_that_goes_on_in_the_next_line_is_refused(front: Front) -> None:
    for headers in (
        "X: a\r\n b",
        "X: a\r\n\tTransfer-Encoding: chunked",
        "Host: AT\r\n .example.net",
        ": x",
        "no colon",
        "a b: c",
    ):
        front.refused(f"GET http://AT/evil HTTP/1.1\r\n{headers}\r\nY: z\r\n\r\n", 400)


@attack("nul")
def test_a_nul_anywhere_in_a_head_is_refused(front: Front) -> None:
    for text in (
        "GET http://AT/evil\x00 HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET http://AT/evil HTTP/1.1\r\nHost: AT\x00.example.net\r\n\r\n",
        "GET http://AT\x00.example.net/ HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET http://AT/evil HTTP/1.1\r\nHost: AT\r\nX: a\x00b\r\n\r\n",
        "GET http://AT/evil%00 HTTP/1.1\r\nHost: AT\r\n\r\n",
        "GET http://AT/evil?%0d%0aX:%20y HTTP/1.1\r\nHost: AT\r\n\r\n",
    ):
        front.refused(text, 400)


@attack("huge-heads")
def test_a_head_has_its_bounds(front: Front) -> None:
    before = front.proxy.peak
    front.refused(f"GET http://AT/evil HTTP/1.1\r\nHost: AT\r\nX: {'a' * 70_000}\r\n\r\n", 431)
    many = "".join(f"X-{number}: y\r\n" for number in range(200))
    front.refused(f"GET http://AT/evil HTTP/1.1\r\nHost: AT\r\n{many}\r\n", 431)
    front.refused(f"GET http://AT/{'a' * 20_000} HTTP/1.1\r\nHost: AT\r\n\r\n", 400)
    front.refused("G" + "E" * 100_000, (400, 431))
    assert front.proxy.peak - before < 64 << 20


@attack("endless-head")
def test_a_head_that_never_ends_is_cut(front: Front) -> None:
    before = front.proxy.peak
    with front.proxy.client() as client:
        client.send(f"GET http://{front.at}/evil HTTP/1.1\r\nHost: {front.at}\r\n".encode())
        for _ in range(512):
            client.send(b"X: " + b"a" * 65_000 + b"\r\n")
        client.reply()  # it may be lost: the proxy has hung up on unread octets
    event = front.proxy.verdict(Outcome.REFUSED)
    assert event.status == 431
    assert front.proxy.peak - before < 64 << 20
    assert front.arrived() == []


@attack("host-missing")
def test_a_request_has_one_host(front: Front) -> None:
    front.refused("GET http://AT/evil HTTP/1.1\r\n\r\n", 400, "Host")
    front.refused("GET http://AT/evil HTTP/1.1\r\nHost: AT\r\nHost: AT\r\n\r\n", 400, "Host")
    front.refused(f"GET http://AT/evil HTTP/1.1\r\nHost: AT\r\nhost: {OTHER}\r\n\r\n", 400, "Host")


@attack("host-disagrees")
def test_target_and_host_name_the_same_or_nothing_is_asked(front: Front) -> None:
    for host in (
        OTHER,
        "127.0.0.1",
        EVIL,
        f"{EVIL}:1",
        f"{EVIL}@{OTHER}",
        f"{EVIL}, {OTHER}",
        f"AT/{OTHER}",
        "hermit.internal",
    ):
        front.refused(f"GET http://AT/evil HTTP/1.1\r\nHost: {host}\r\n\r\n", 400)


@attack("host-disagrees-tunnel")
def test_connect_and_host_name_the_same_or_nothing_is_asked(front: Front) -> None:
    front.refused(f"CONNECT {EVIL}:443 HTTP/1.1\r\nHost: {OTHER}:443\r\n\r\n", 400)
    for host in (OTHER, f"{EVIL}:444", "127.0.0.1"):
        assert front.tunnel(f"GET /evil HTTP/1.1\r\nHost: {host}\r\n\r\n").refused
        front.proxy.verdict(Outcome.REFUSED, "disagree")
    assert front.tunnel("GET /evil HTTP/1.1\r\n\r\n").refused
    front.proxy.verdict(Outcome.REFUSED, "no Host")
    assert front.arrived() == []


@attack("sni-disagrees")
def test_connect_and_sni_name_the_same_or_nothing_is_asked(front: Front) -> None:
    for sni, host in ((OTHER, EVIL), (OTHER, OTHER), ("hermit.internal", EVIL), ("127.0.0.1.example.org", EVIL)):
        reply = front.tunnel(f"GET /evil HTTP/1.1\r\nHost: {host}\r\n\r\n", sni=sni)
        assert reply.refused or reply.status == 400, reply
        event = front.proxy.verdict(Outcome.REFUSED)
        assert sni in (event.reason or ""), event
    assert front.arrived() == []


@attack("origin-form")
def test_a_proxy_is_asked_in_absolute_form(front: Front) -> None:
    for target in ("/evil", "//AT/evil", "*", "AT/evil", "?evil", "evil"):
        front.refused(f"GET {target} HTTP/1.1\r\nHost: AT\r\n\r\n", 400)


@attack("absolute-form-in-tunnel")
def test_inside_a_tunnel_a_request_names_a_path(front: Front) -> None:
    for line in (
        f"GET http://{OTHER}/evil",
        f"GET https://{EVIL}/evil",
        f"GET //{OTHER}/evil",
        f"CONNECT {OTHER}:443",
        "OPTIONS *",
    ):
        reply = front.tunnel(f"{line} HTTP/1.1\r\nHost: {EVIL}\r\n\r\n")
        assert reply.refused, (line, reply)
        event = front.proxy.verdict(Outcome.REFUSED)
        # `//other/evil` is a path and stays one: it names no other host.
        assert event.url.startswith(f"https://{EVIL}"), event
    assert front.arrived() == []


@attack("connect-nowhere")
def test_connect_names_a_host_and_a_port(front: Front) -> None:
    for authority in (
        EVIL,
        f"{EVIL}:",
        f"{EVIL}:0",
        f"{EVIL}:65536",
        f"{EVIL}:443/x",
        f"{EVIL}:443:80",
        f"{EVIL}:\uff14\uff14\uff13",
        "/",
        f"http://{EVIL}:443",
        f"user@{EVIL}:443",
        ":443",
    ):
        front.refused(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode(), 400)


@attack("odd-schemes")
def test_no_scheme_but_http_is_asked_for(front: Front) -> None:
    for url in (
        "https://AT/evil",
        "ftp://AT/evil",
        "file:///etc/passwd",
        "gopher://AT/_x",
        "unix:///run/x.sock",
        "http:///evil",
        "http:AT/evil",
        "http+unix://x/",
    ):
        front.refused(f"GET {url} HTTP/1.1\r\nHost: AT\r\n\r\n", 400)


@attack("user-info")
def test_a_url_has_no_user(front: Front) -> None:
    for url in (
        f"http://{GOOD}@AT/evil",
        f"http://AT@{OTHER}/evil",
        "http://user:pass@AT/evil",
        f"http://AT#@{OTHER}/",
        f"http://AT\\@{OTHER}/",
    ):
        front.refused(f"GET {url} HTTP/1.1\r\nHost: AT\r\n\r\n", 400)


@attack("odd-hosts")
def test_a_host_is_a_name_or_an_address(front: Front) -> None:
    for host in (
        "..", ".", "../../etc", "a..b", f".{EVIL}", f"{EVIL}..", "-a.example.org", "a" * 64 + ".example.org",
        "a." * 130 + "org",
        "evil%2eexample.org", "evil%00.example.org", "evil.example.org%2f", "ev*il.example.org",
        "evil_.example.org;x", "[evil]",
        "[::1", "::1]", "[v1.x]", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.0x4", "0x7f.1", "é.example.org",
        "\xe9.example.org", "\u212a.example.org",
        "evil.example.org。", "$(id).example.org", "~", "+8080",
    ):  # fmt: skip
        front.refused(f"GET http://{host}/evil HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), 400)
    assert {path.name for path in front.world.network.parent.iterdir()} <= {
        *("hosts", "network", "python-named", "rules.yaml", "run-0", "store", "recorded"),
        *(path.name for path in front.world.network.parent.iterdir() if path.name.startswith(".")),
    }


@attack("dot-segments")
def test_dots_in_a_path_do_not_leave_what_a_rule_admits(tmp_path_factory: pytest.TempPathFactory, kept: Front) -> None:
    only = "rules:\n- {pattern: 'evil.example.org:[0-9]+/open/.*', action: ALLOW}\n"
    only += "- {pattern: 'good.example.org:[0-9]+/.*', action: ALLOW}\n"
    with World(tmp_path_factory.mktemp("dots") / "world") as world, world.start(kept.proxy.mode, rules=only) as proxy:
        for path in ("/open/a", "/secret"):
            world.origin.route(path, b"secret" if path == "/secret" else b"open")
        front = Front(world, proxy)
        for path in (
            "/open/../secret", "/open/./../secret", "/open/%2e%2e/secret", "/open/.%2E/secret", "/open//..//secret",
            "/open/%2e%2e%2fsecret",
            "/open/..%2fsecret", "/open/..%5csecret", "/open/..\\secret", "/open/%252e%252e/secret",
            "/open/%252e%252e%252fsecret",
            "/open/..;/secret", "/open/..;x=y/secret", "/open/%c0%ae%c0%ae/secret", "/open/%c0%ae%c0%ae%c0%afsecret",
            "/open/..%00/secret",
            "/open/..%2f..%2fsecret", "/open/a/..%2f..%2f..%2fsecret", "/%2e%2e/secret", "/open/../open/../secret",
        ):  # fmt: skip
            reply = front.raw(f"GET http://AT{path} HTTP/1.1\r\nHost: AT\r\n\r\n")
            assert reply.refused, (path, reply)
            proxy.verdict(Outcome.REFUSED)
            assert front.arrived() == [], path
        if kept.proxy.mode.value == "record":  # within the folder dots are nothing bad
            assert front.raw("GET http://AT/open/x/../%61 HTTP/1.1\r\nHost: AT\r\n\r\n").body == b"open"
            assert front.arrived() == ["GET /open/a"]


@attack("encoded-slash")
def test_an_encoded_slash_does_not_choose_the_rule(tmp_path_factory: pytest.TempPathFactory, kept: Front) -> None:
    rules = "rules:\n- {pattern: 'evil.example.org:[0-9]+/secret/.*', action: REJECT}\n" + OPEN_RULES.removeprefix(
        "rules:\n"
    )
    with World(tmp_path_factory.mktemp("slash") / "world") as world, world.start(kept.proxy.mode, rules=rules) as proxy:
        front = Front(world, proxy)
        for path, reason in (
            ("/secret/x", "rejects"),
            ("/secret%2Fx", "slashes"),
            ("/secret%252Fx", "slashes"),
            ("/secret%5Cx", "slashes"),
            ("/a/..%2Fsecret%2Fx", ""),
        ):
            assert front.raw(f"GET http://AT{path} HTTP/1.1\r\nHost: AT\r\n\r\n").refused, path
            proxy.verdict(Outcome.REFUSED, reason)
        assert front.arrived() == []


@attack("websocket")
def test_a_websocket_is_refused(front: Front) -> None:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13"
    front.refused(f"GET http://AT/evil HTTP/1.1\r\nHost: AT\r\n{upgrade}\r\n\r\n", 403, "upgrade")
    assert front.tunnel(f"GET /evil HTTP/1.1\r\nHost: {EVIL}\r\n{upgrade}\r\n\r\n").refused
    front.proxy.verdict(Outcome.REFUSED, "upgrade")
    for other in ("TLS/1.0", "h2c, websocket", "connect-udp", "h3"):
        front.refused(
            f"GET http://AT/evil HTTP/1.1\r\nHost: AT\r\nConnection: Upgrade\r\nUpgrade: {other}\r\n\r\n",
            403,
            "upgrade",
        )


@attack("h2c")
def test_http_2_is_not_spoken(front: Front) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    reply = front.proxy.send(ask(front.world.good, *upgrade))
    assert (reply.status, reply.body) == (200, b"good")  # passed over, as cargo's offer has to be
    assert "upgrade" not in reply.headers
    front.proxy.verdicts(0)
    assert not [asked for asked in front.world.origin.asked if {"upgrade", "http2-settings"} & set(asked.headers)]
    front.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 400)


@attack("odd-request-lines")
def test_a_request_line_has_three_parts_and_a_version_that_we_speak(front: Front) -> None:
    for line in (
        "GET http://AT/evil", "GET http://AT/evil HTTP/0.9", "GET http://AT/evil HTTP/2.0",
        "GET http://AT/evil HTTP/1.10", "GET http://AT/evil http/1.1",
        "get http://AT/evil HTTP/1.1", "GET  http://AT/evil HTTP/1.1", "GET\thttp://AT/evil\tHTTP/1.1",
        "GET http://AT/evil HTTP/1.1 ",
        "GET http://AT/ev il HTTP/1.1", "G\xc9T http://AT/evil HTTP/1.1", "GET(1) http://AT/evil HTTP/1.1",
        "HTTP/1.1 200 OK",
    ):  # fmt: skip
        front.refused(f"{line}\r\nHost: AT\r\n\r\n", 400)


@attack("hop-by-hop")
def test_a_client_cannot_have_the_framing_taken_off(front: Front) -> None:
    body = SMUGGLED.replace("AT", front.at)
    raw = post(
        "Connection: content-length, host, accept-encoding, keep-alive", f"Content-Length: {len(body)}", body=body
    )
    reply = front.raw(raw)
    event = front.proxy.verdicts()[0]
    if front.proxy.mode.value == "hermetic":
        assert reply.refused
        assert front.arrived() == []
        return
    assert event.status == reply.status == 404
    assert front.arrived() == ["POST /evil"]
    asked = next(asked for asked in front.world.origin.asked if asked.path == "/evil")
    assert (asked.body, asked.server) == (body.encode(), front.at)
    assert asked.headers["accept-encoding"] == "identity"


@attack("body-is-a-request")
def test_a_request_inside_a_body_stays_a_body(front: Front) -> None:
    body = SMUGGLED.replace("AT", front.at)
    chunked = f"{len(body):x};ext=1\r\n{body}\r\n0\r\n\r\n"
    for number, raw in enumerate(
        (post(f"Content-Length: {len(body)}", body=body), post("Transfer-Encoding: chunked", body=chunked))
    ):
        front.world.origin.forget()
        front.raw(raw.replace("/evil ", f"/evil{number} ", 1))
        event = front.proxy.verdicts()[0]
        assert event.method == "POST"
        if front.proxy.mode.value == "record":
            asked = next(asked for asked in front.world.origin.asked if asked.path == f"/evil{number}")
            assert asked.body == body.encode()
            assert ("content-length" in asked.headers) != ("transfer-encoding" in asked.headers)
            assert front.arrived() == [f"POST /evil{number}"]
        else:
            assert front.arrived() == []


@attack("trailers")
def test_trailers_change_nothing(front: Front) -> None:
    trailers = f"0\r\nHost: {OTHER}\r\nContent-Length: 99\r\nTransfer-Encoding: gzip\r\n\r\n"
    front.raw(post("Transfer-Encoding: chunked", "Trailer: Host", body=f"4\r\nbody\r\n{trailers}"))
    event = front.proxy.verdicts()[0]
    assert event.outcome is Outcome.REFUSED
    assert front.arrived() == []


@attack("pipelined")
def test_what_follows_a_refused_request_is_not_read(front: Front) -> None:
    with front.proxy.client() as client:
        bad = post("Content-Length: 4", "Transfer-Encoding: chunked", body="0\r\n\r\n")
        said = client.send((bad + SMUGGLED).replace("AT", front.at).encode()).rest()
    assert said.count(b"HTTP/1.1 ") == 1
    assert front.proxy.verdict(Outcome.REFUSED).method == "POST"
    assert front.arrived() == []
    with front.proxy.client() as client:  # where all is well, each is answered in its turn
        client.send(ask(front.world.good) * 3)
        assert [client.reply().body for _ in range(3)] == [b"good"] * 3
    front.proxy.verdicts(0)

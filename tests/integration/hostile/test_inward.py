"""Attacks that lead the proxy to what only its host can reach: loopback, own addresses, metadata, private networks."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hermit_proxy.policy import Mode
from hermit_proxy.run.events import Outcome
from hermit_proxy.upstream.own import own_addresses
from tests.integration.hostile import island
from tests.integration.hostile.rows import attack
from tests.integration.hostile.siege import EVIL, OPEN_RULES, World
from tests.integration.hostile.wire import SECRET_OF_THE_HOST, Client, Hostile, answer, ask, eventually
from tests.support.hermit import need_namespaces
from tests.support.origin import Response

ROOT = Path(__file__).resolve().parents[3]

# What some resolver, library or browser takes for this machine.
SPELLINGS = (
    "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1",
    "017700000001",
    "127.000.000.001", "127.255.255.254", "0", "localhost", "LOCALHOST", "localhost.", "[::1]",
    "0.0.0.0",  # noqa: S104  asked for, not bound
    "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::1%25lo]", "[::1%lo]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127。0。0。1", "①②⑦.0.0.1", "127.0.0.1%00", "127.0.0.1%2f", "::1",
)  # fmt: skip


def through(proxy_port: int, host: str, port: int) -> bytes:
    with Client(proxy_port) as client:
        octets = ask(f"http://{host}:{port}/").decode("latin-1") if host.isascii() else None
        raw = (
            octets.encode("latin-1")
            if octets
            else f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        )
        return client.send(raw).reply().body


@attack("loopback-spellings")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_no_spelling_of_loopback_is_dialled(world: World, victim: Hostile, mode: str) -> None:
    with world.start(mode) as proxy:
        for host in SPELLINGS:
            body = through(proxy.port, host, victim.port)
            assert b"refused" in body or b"Hermit" in body, (host, body)
            assert SECRET_OF_THE_HOST not in body
            assert proxy.verdict(Outcome.REFUSED).url, host
    assert victim.connections == 0
    if mode == "record":
        # Without the guard's refusal the very same request gets through, and so does a plain connection.
        with world.start(mode, allow=["127.0.0.1"]) as proxy:
            assert through(proxy.port, "127.0.0.1", victim.port) == SECRET_OF_THE_HOST
            proxy.verdict(Outcome.RECORDED)
        for host in ("127.1", "2130706433", "0x7f000001", "0"):
            with Client(victim.port, host=host) as client:
                assert client.send(ask("http://x/")).reply().body == SECRET_OF_THE_HOST


@attack("loopback-without-us")
def test_the_proxy_that_the_recorder_is_made_of_fetches_loopback(victim: Hostile, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("mitmdump")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "-q", "--listen-host", "127.0.0.1", "-p", str(port), "--set", f"confdir={tmp_path}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def body() -> bytes:
            with suppress(OSError), Client(port) as client:
                return client.send(ask(f"http://127.0.0.1:{victim.port}/")).reply().body
            return b""

        assert eventually(body, 30) == SECRET_OF_THE_HOST
    finally:
        process.terminate()
        process.wait(10)


@attack("own-addresses")
def test_no_address_of_the_machine_is_dialled(world: World) -> None:
    own = [str(address) for address in sorted(own_addresses(), key=str) if not address.is_link_local]
    assert own
    with Hostile(address="0.0.0.0") as victim, Hostile(address="::", port=victim.port) as victim6:  # noqa: S104  to be found at every address
        with world.start() as proxy:
            for address in own:
                host = f"[{address}]" if ":" in address else address
                assert proxy.get(f"http://{host}:{victim.port}/").refused
                proxy.verdict(Outcome.REFUSED, address)
        assert victim.connections + victim6.connections == 0
        for address in own:  # nothing else would have stopped it
            with Client(victim.port, host=address) as client:
                assert client.send(ask("http://x/")).reply().body == SECRET_OF_THE_HOST


@attack("name-to-loopback")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_a_name_that_leads_to_loopback_is_not_dialled(world: World, victim: Hostile, mode: str) -> None:
    url = f"http://inside.example.net:{victim.port}/"
    with world.start(mode) as proxy:
        assert proxy.get(url).refused
        proxy.verdict(Outcome.REFUSED, "loopback" if mode == "record" else "snapshot")
        assert victim.connections == 0
    if mode == "record":
        with world.start(mode, allow=["inside.example.net"]) as proxy:
            assert proxy.get(url).body == SECRET_OF_THE_HOST
            proxy.verdict(Outcome.RECORDED)


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    need_namespaces()
    return island.run(tmp_path_factory.mktemp("island") / "folder", ROOT)


@attack("private-ranges")
def test_no_private_shared_or_reserved_address_is_dialled(scenarios: dict[str, str]) -> None:
    assert scenarios["private_ranges"] == ""


@attack("disguised-ipv4")
def test_no_ipv6_form_of_a_refused_address_is_dialled(scenarios: dict[str, str]) -> None:
    assert scenarios["disguised"] == ""


@attack("metadata")
def test_no_metadata_service_is_dialled(scenarios: dict[str, str]) -> None:
    assert scenarios["metadata"] == ""


@attack("metadata-by-name")
def test_a_name_that_was_opened_does_not_open_the_metadata_service(scenarios: dict[str, str]) -> None:
    assert scenarios["metadata_by_name"] == ""


@attack("own-public-address")
def test_a_public_address_of_the_machine_is_not_dialled(scenarios: dict[str, str]) -> None:
    assert scenarios["own_public_address"] == ""


@attack("dns-rebinding")
def test_the_address_that_was_judged_is_the_one_that_is_dialled(scenarios: dict[str, str]) -> None:
    assert scenarios["rebinding"] == ""


@attack("dns-rebinding-later")
def test_a_name_is_judged_anew_for_each_connection(scenarios: dict[str, str]) -> None:
    assert scenarios["rebinding_later"] == ""


@attack("dns-mixed")
def test_one_refused_address_refuses_the_name(scenarios: dict[str, str]) -> None:
    assert scenarios["mixed_addresses"] == ""


@attack("reserved-host-dns")
def test_nobody_but_the_proxy_answers_for_the_reserved_host(scenarios: dict[str, str]) -> None:
    assert scenarios["reserved_host_in_dns"] == ""


def redirecting(world: World, location: str, status: int = 302) -> str:
    world.origin.route("/away", Response(b"", status, {"location": location}))
    return world.origin.url(EVIL, "/away")


@attack("redirect-inward")
def test_a_redirect_leads_the_client_inward_in_vain(world: World, victim: Hostile) -> None:
    inner = f"http://127.0.0.1:{victim.port}/"
    away = redirecting(world, inner)
    with world.start() as proxy:
        assert proxy.get(away).headers["location"] == inner
        proxy.verdict(Outcome.RECORDED)
        assert proxy.get(inner).refused
        proxy.verdict(Outcome.REFUSED, "loopback")
    assert victim.connections == 0
    with world.start(allow=["127.0.0.1"]) as proxy:
        assert proxy.get(inner).body == SECRET_OF_THE_HOST


FOLD = OPEN_RULES.replace("ALLOW}", "ALLOW, fold_redirect: true}")


@attack("redirect-inward-folded")
def test_a_redirect_that_the_proxy_follows_itself_leads_inward_in_vain(world: World, victim: Hostile) -> None:
    away = redirecting(world, f"http://127.0.0.1:{victim.port}/")
    with world.start(rules=FOLD) as proxy:
        back = proxy.get(away).headers["location"]
        assert back.startswith(away)
        proxy.verdict(Outcome.RECORDED)
        assert proxy.get(back).refused
        proxy.verdict(Outcome.REFUSED, "loopback")
    assert victim.connections == 0
    with world.start(allow=["127.0.0.1"]) as proxy:
        assert proxy.get(proxy.get(away).headers["location"]).body == SECRET_OF_THE_HOST


@attack("redirect-past-rules")
def test_a_folded_redirect_gets_only_where_the_rules_lead(world: World, victim: Hostile) -> None:
    away = redirecting(world, f"http://127.0.0.1:{victim.port}/")
    only = f"rules:\n- {{pattern: '{EVIL}:[0-9]+/.*', action: ALLOW, fold_redirect: true}}\n"
    with world.start(
        rules=only + "- {pattern: 'good.example.org:[0-9]+/.*', action: ALLOW}\n", allow=["127.0.0.1"]
    ) as proxy:
        back = proxy.get(away).headers["location"]
        proxy.verdict(Outcome.RECORDED)
        assert proxy.get(back).refused
        proxy.verdict(Outcome.REFUSED, "no rule")
    assert victim.connections == 0


@attack("redirect-inward-signed")
def test_a_signed_redirect_leads_inward_in_vain(world: World, victim: Hostile) -> None:
    away = redirecting(world, f"http://127.0.0.1:{victim.port}/x?X-Amz-Signature=abc")
    with world.start() as proxy:
        short = proxy.get(away).headers["location"]
        assert short == f"http://127.0.0.1:{victim.port}/x"
        proxy.verdict(Outcome.RECORDED)
        assert proxy.get(short).refused
        proxy.verdict(Outcome.REFUSED, "loopback")
    assert victim.connections == 0
    with world.start(allow=["127.0.0.1"]) as proxy:
        assert proxy.get(proxy.get(away).headers["location"]).body == SECRET_OF_THE_HOST
    assert b"X-Amz-Signature=abc" in victim.heads[-1]


@attack("reserved-host-redirect")
def test_the_reserved_host_is_not_reached_by_a_redirect_that_the_proxy_follows(world: World) -> None:
    away = redirecting(world, "http://hermit.internal/ca.pem")
    with world.start(rules=FOLD) as proxy:
        back = proxy.get(away).headers["location"]
        proxy.verdict(Outcome.RECORDED)
        reply = proxy.get(back)
        assert reply.refused
        assert b"CERTIFICATE" not in reply.body
        proxy.verdict(Outcome.REFUSED, "hermit.internal")
        assert b"CERTIFICATE" in proxy.get("http://hermit.internal/ca.pem").body  # the link itself may


@attack("reserved-host-connect")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_the_reserved_host_has_no_tunnel(world: World, mode: str) -> None:
    with world.start(mode) as proxy:
        for authority in ("hermit.internal:443", "hermit.internal:80", "HERMIT.internal.:443"):
            with proxy.client() as client:
                assert client.connect(authority).refused, authority
            proxy.verdict(Outcome.REFUSED, "hermit.internal")


@attack("reserved-host-rule")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_no_rule_sends_the_reserved_host_elsewhere(world: World, victim: Hostile, mode: str) -> None:
    with world.start(mode, allow=["hermit.internal"]) as proxy:
        for url in (f"http://hermit.internal:{victim.port}/health", "http://x.hermit.internal/health"):
            assert proxy.get(url).status != 200
            proxy.verdicts()
        reply = proxy.get("http://hermit.internal/../health")
        assert reply.status == 200, reply
        proxy.verdicts()
    assert victim.connections == 0


def listening(pid: int) -> set[int]:
    """Give the ports on which a process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if found := re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink())):
                inodes.add(found[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


@contextmanager
def engine_port(world: World) -> Iterator[int]:
    with world.start(allow=["127.0.0.0/8"]) as proxy:
        try:
            ports = listening(proxy.process.pid) - {proxy.port}
        except PermissionError:
            pytest.skip("only root sees the ports of a process that cannot be debugged")
        assert len(ports) == 1
        yield ports.pop()


@attack("answer-engine")
def test_the_recorders_own_answer_engine_answers_nobody_else(world: World) -> None:
    with engine_port(world) as port:
        for path in ("/", "/health", "/ca.pem", "/" + "0" * 64, "/../health", "/" + "A" * 43 + "/health"):
            with Client(port) as client:
                reply = client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()).reply()
                assert reply.status in {0, 400, 403, 404}, (path, reply)
                assert b"CERTIFICATE" not in reply.body
        # Nor a build whose operator has opened loopback.
        proxy = world._proxies[-1]
        proxy.verdicts(len(proxy.events())) if proxy.events() else None
        reply = proxy.get(f"http://127.0.0.1:{port}/health")
        assert reply.status in {403, 404, 502}, reply


@attack("connect-ports")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_a_tunnel_carries_nothing_but_judged_requests(world: World, mode: str) -> None:
    with Hostile(lambda peer: peer.send(b"SSH-2.0-victim\r\n")) as victim, world.start(mode) as proxy:
        for first in (
            b"SSH-2.0-attacker\r\n\r\n",
            b"\x00\x00\x00\x01",
            b"EHLO attacker\r\n\r\n",
            b"*1\r\n$4\r\nINFO\r\n\r\n",
        ):
            with proxy.client() as client:
                assert client.connect(f"127.0.0.1:{victim.port}").status == 200
                client.send(first)
                said = client.rest()
                assert b"victim" not in said
                assert b"400" in said.split(b"\r\n")[0], (first, said)
            proxy.verdict(Outcome.REFUSED)
        with proxy.client() as client:
            client.connect(f"127.0.0.1:{victim.port}")
            raw = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{victim.port}\r\n\r\n".encode()
            assert client.send(raw).reply().refused
        proxy.verdict(Outcome.REFUSED, "loopback" if mode == "record" else "snapshot")
        assert victim.connections == 0
        with Client(victim.port) as client:
            assert client.send(b"SSH-2.0-attacker\r\n\r\n").rest() == b"SSH-2.0-victim\r\n"


@attack("connect-literals")
@pytest.mark.parametrize("mode", ["record", "hermetic"])
def test_a_tunnel_to_a_literal_address_leads_nowhere(world: World, mode: str) -> None:
    with Hostile(lambda peer: peer.send(answer(b"x"))) as victim, world.start(mode) as proxy:
        for host in ("127.0.0.1", "[::1]", "localhost"):
            with proxy.client() as client:
                assert client.connect(f"{host}:{victim.port}").status == 200
                client.tls(proxy.ca, host.strip("[]"))
                raw = f"GET / HTTP/1.1\r\nHost: {host}:{victim.port}\r\n\r\n".encode()
                assert client.send(raw).reply().refused
            proxy.verdict(Outcome.REFUSED, "loopback" if mode == "record" else "snapshot")
        assert victim.connections == 0


@attack("hermetic-dials-nothing")
def test_a_hermetic_proxy_dials_nothing_even_where_everything_is_open(world: World, victim: Hostile) -> None:
    allow = ["127.0.0.0/8", "inside.example.net"]
    url = f"http://inside.example.net:{victim.port}/"
    with world.start(Mode.HERMETIC, allow=allow) as proxy:
        for asked in (url, url.replace("inside.example.net", "127.0.0.1")):
            assert proxy.get(asked).refused
            proxy.verdict(Outcome.REFUSED, "snapshot")
        assert victim.connections == 0
        assert listening(proxy.process.pid) <= {proxy.port}
    with world.start(Mode.RECORD, allow=allow) as proxy:
        assert proxy.get(url).body == SECRET_OF_THE_HOST

"""Attacks on credentials that the proxy adds: having them sent elsewhere, or sent back."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermit_proxy.errors import UsageError
from hermit_proxy.run.events import Outcome
from hermit_proxy.run.har import har
from tests.integration.hostile.rows import attack
from tests.integration.hostile.siege import OPEN_RULES, Proxy, World
from tests.integration.hostile.wire import Hostile, Peer, Reply, answer
from tests.support.testca import TestCA

HOST, ELSEWHERE = "inside.example.net", "other.example.org"
SECRET = "s3cret+Token/of=the&user-0123456789"
RULES = (
    "rules:\n- {pattern: 'inside.example.net:[0-9]+/private/.*', action: REFRESH, credential: index}\n"
    + OPEN_RULES.removeprefix("rules:\n")
)


class Vault:
    """Is a server that wants a token, and a recorder that adds it."""

    def __init__(self, world: World, ca: TestCA) -> None:
        self.world = world
        self.reflect = lambda _token: answer(b"private")
        self.server = Hostile(self._serve, context=ca.server_context())
        self.file = world.folder / "credentials.yaml"
        (world.folder / "token").write_text(SECRET + "\n")
        (world.folder / "token").chmod(0o600)
        self.bind()

    def bind(self, host: str = HOST, path: str = "/private/") -> None:
        fields = f"host: 'https://{host}:{self.server.port}', path: {path}, secret_file: token, as: bearer"
        self.file.write_text(f"credentials:\n  index: {{{fields}}}\n")
        self.file.chmod(0o600)

    def _serve(self, peer: Peer) -> None:
        lines = peer.head.decode("latin-1").split("\r\n")
        token = next(
            (
                line.partition(": ")[2].removeprefix("Bearer ")
                for line in lines
                if line.lower().startswith("authorization:")
            ),
            "",
        )
        peer.send(self.reflect(token))

    def start(self, rules: str = RULES) -> Proxy:
        return self.world.start(rules=rules, allow=[HOST, ELSEWHERE], credentials=self.file)

    def url(self, path: str = "/private/x", host: str = HOST) -> str:
        return f"https://{host}:{self.server.port}{path}"

    def sent(self) -> bool:
        """Tell whether the server ever heard the secret."""
        return any(SECRET.encode() in head for head in self.server.heads)

    def leaked(self) -> list[Path]:
        """Name the files of this run that hold the secret, but for its own."""
        return [
            path
            for path in self.world.folder.rglob("*")
            if path.is_file() and path.name != "token" and SECRET.encode() in path.read_bytes()
        ]

    def kept_secret(self, reply: Reply) -> None:
        """See that a client's view holds no spelling of the secret."""
        seen = repr(reply).encode() + reply.body
        assert SECRET.encode() not in seen
        assert base64.b64encode(SECRET.encode()) not in seen


@pytest.fixture
def vault(world: World, ca: TestCA) -> Iterator[Vault]:
    made = Vault(world, ca)
    with made.server:
        yield made


@attack("secret-in-the-open")
def test_the_secret_reaches_the_server_and_nothing_else(vault: Vault) -> None:
    with vault.start() as proxy:
        reply = proxy.get(vault.url(), "Authorization: Bearer of-the-client")
        assert reply.body == b"private"
        assert proxy.verdict(Outcome.RECORDED).entry is not None
        assert vault.sent()
        assert b"of-the-client" not in vault.server.heads[-1]
        vault.kept_secret(reply)
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{proxy.process.pid}/{name}").read_bytes()
        limits = Path(f"/proc/{proxy.process.pid}/limits").read_text()
        assert "Max core file size        0" in limits
        assert SECRET not in repr(har(proxy.events()))
        assert vault.leaked() == []


def reflected(vault: Vault, proxy: Proxy, path: str, *headers: str) -> None:
    reply = proxy.get(vault.url(path), *headers)
    assert not reply.whole or reply.refused, reply
    vault.kept_secret(reply)
    event = proxy.verdict(Outcome.REFUSED, "secret")
    assert event.entry is None
    assert vault.sent()
    assert vault.leaked() == []


@attack("reflected-header")
def test_a_head_that_shows_the_secret_is_refused(vault: Vault) -> None:
    with vault.start() as proxy:
        for number, make in enumerate(
            (
                lambda token: answer(b"x", f"X-Echo: {token}"),
                lambda token: answer(b"x", f'ETag: "{token}"'),
                lambda token: answer(b"x", f"Set-Cookie: t={token}"),
                lambda token: answer(b"x", f"X-Echo: {base64.b64encode(token.encode()).decode()}"),
                lambda token: answer(b"x", status=f"200 {token}"),
                lambda token: answer(
                    b"x", f"{token.replace('/', '').replace('=', '').replace('&', '')}: x", f"X: {token}"
                ),
            )
        ):
            vault.reflect = make
            reflected(vault, proxy, f"/private/{number}")


@attack("reflected-body")
def test_a_body_that_shows_the_secret_stops_before_it(vault: Vault) -> None:
    spellings = (
        lambda t: t, lambda t: base64.b64encode(t).rstrip(b"="), lambda t: base64.b64encode(b"Bearer " + t),
        lambda t: base64.urlsafe_b64encode(b"x:" + t),
        lambda t: t.hex().encode(),
        lambda t: b"".join(b"%%%02X" % o if not chr(o).isalnum() and o not in b"-._~" else bytes([o]) for o in t),
        lambda t: t.replace(b"&", b"&amp;"), lambda t: t.replace(b"/", b"\\/"),
    )  # fmt: skip
    with vault.start() as proxy:
        for number, spell in enumerate(spellings):
            vault.reflect = lambda token, spell=spell: answer(b"before " + spell(token.encode()) + b" after")
            reflected(vault, proxy, f"/private/{number}")


@attack("reflected-in-pieces")
def test_a_secret_that_comes_in_pieces_is_found(vault: Vault) -> None:
    def chunked(token: str, size: int) -> bytes:
        octets = ("x" * 100_000 + token + "y" * 100).encode()
        pieces = [octets[i : i + size] for i in range(99_990, len(octets), size)]
        pieces.insert(0, octets[:99_990])
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"

    with vault.start() as proxy:
        for size in (1, 7, 20):
            vault.reflect = lambda token, size=size: chunked(token, size)
            reflected(vault, proxy, f"/private/{size}")


@attack("reflected-redirect")
def test_a_redirect_that_carries_the_secret_is_refused(vault: Vault) -> None:
    with vault.start() as proxy:
        for number, query in enumerate(("t=", "sig=", "access_token=")):
            vault.reflect = lambda token, query=query: answer(
                b"", f"Location: https://{ELSEWHERE}/?{query}{token}", status="302 Found"
            )
            reflected(vault, proxy, f"/private/{number}")


@attack("reflected-slices")
def test_the_secret_is_not_read_in_slices(vault: Vault) -> None:
    vault.reflect = lambda token: answer(token.encode())
    with vault.start() as proxy:
        for start in range(0, 12, 3):
            reflected(vault, proxy, f"/private/{start}", f"Range: bytes={start}-{start + 2}")


@attack("reflected-compressed")
def test_the_secret_is_not_given_back_compressed(vault: Vault) -> None:
    packers = {"gzip": gzip.compress, "deflate": zlib.compress, "br": lambda data: data[::-1]}
    with vault.start() as proxy:
        for coding, pack in packers.items():
            vault.reflect = lambda token, coding=coding, pack=pack: answer(
                pack(token.encode()), f"Content-Encoding: {coding}"
            )
            reply = proxy.get(vault.url(f"/private/{coding}"))
            assert reply.refused, reply
            assert proxy.verdict(Outcome.REFUSED, "secret").entry is None
            assert vault.sent()


@attack("reflected-trailer")
def test_the_secret_is_not_given_back_in_a_trailer_or_an_interim_answer(vault: Vault) -> None:
    chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with vault.start() as proxy:
        for number, make in enumerate(
            (
                lambda token: f"{chunked}1\r\nx\r\n0\r\nX-Echo: {token}\r\n\r\n".encode(),
                lambda token: f"HTTP/1.1 103 Early Hints\r\nX-Echo: {token}\r\n\r\n".encode() + answer(b"x"),
                lambda token: (
                    f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x={token}\r\nx\r\n0\r\n\r\n".encode()
                ),
            )
        ):
            vault.reflect = make
            reply = proxy.get(vault.url(f"/private/{number}"))
            vault.kept_secret(reply)
            proxy.verdicts()
            assert vault.leaked() == []


@attack("secret-by-edited-rules")
def test_edited_rules_do_not_send_a_secret_elsewhere(vault: Vault) -> None:
    for rules in (
        "rules:\n- {pattern: 'other.example.org:[0-9]+/.*', action: ALLOW, credential: index}\n",
        "rules:\n- {pattern: 'other.example.org/.*', action: ALLOW, credential: index}\n",
        "rules:\n- {pattern: 'inside.example.net:[0-9]+/.*', action: ALLOW, credential: another}\n",
        "rules:\n- {pattern: 'inside.example.net:[0-9]+/.*', action: ALLOW, credential: index, scheme: http}\n",
        "rules:\n- {pattern: 'inside.example.net:[0-9]+/.*', action: ALLOW, credential: index, method: POST}\n",
    ):
        with pytest.raises(UsageError, match="credential"):
            vault.start(rules)
    assert vault.server.connections == 0


@attack("secret-by-wide-rules")
def test_a_rule_for_everything_sends_the_secret_only_where_it_is_bound(vault: Vault) -> None:
    wide = OPEN_RULES.replace("'.*:[0-9]+/.*', action: ALLOW", "'.*:[0-9]+/.*', action: REFRESH, credential: index")
    with vault.start(wide) as proxy, Hostile() as other:
        for url in (
            vault.url(host=ELSEWHERE),
            f"http://{HOST}:{vault.server.port}/private/x",
            f"https://{HOST}:{other.port}/private/x",
            vault.url("/public/x"),
            vault.url("/private/../public/x"),
            vault.url("/private/%2e%2e/public"),
            vault.url("/private%2Fx"),
            vault.url("/privateer"),
        ):
            reply = proxy.get(url)
            assert reply.refused, (url, reply)
            vault.kept_secret(reply)
            proxy._seen = len(proxy.events())
        assert not vault.sent()
        assert other.connections == 0
        assert proxy.get(vault.url()).body == b"private"
        assert vault.sent()


@attack("secret-over-a-redirect")
def test_the_secret_does_not_cross_a_redirect(vault: Vault, ca: TestCA) -> None:
    with Hostile(context=ca.server_context()) as other:
        target = f"https://{ELSEWHERE}:{other.port}/x"
        vault.reflect = lambda _token: answer(b"", f"Location: {target}", status="302 Found")
        fold = RULES.replace("credential: index}", "credential: index, fold_redirect: true}")
        for rules in (RULES, fold):
            with vault.start(rules) as proxy:
                back = proxy.get(vault.url()).headers["location"]
                proxy.get(back)
                proxy.verdicts(2)
        assert other.connections == 2
        assert not any(SECRET.encode() in head or b"uthorization" in head for head in other.heads)
        assert vault.sent()
    # Nor within the host, out of the path that it is bound to.
    vault.reflect = lambda _token: answer(b"", "Location: /public/y", status="302 Found")
    with vault.start(fold) as proxy:
        proxy.get(proxy.get(vault.url()).headers["location"])
        proxy.verdicts(2)
    (outside,) = [head for head in vault.server.heads if head.startswith(b"GET /public/y")]
    assert b"uthorization" not in outside

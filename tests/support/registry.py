"""Runs Debian's docker-registry, behind a token server where a test wants the real 401 and Bearer conversation."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.support.origin import Asked, Origin, Response, text
from tests.support.testca import TestCA, make_ca

_SERVICE = "registry of the tests"
_ISSUER = "token server of the tests"
PUSHER = "pusher:pushes"


class TokenServer:
    """Signs what docker-registry asks for (distribution's token specification): pull for all, push for PUSHER.

    `issued` lists every token, so that a test can search for them where they must not be.
    """

    def __init__(self, origin: Origin, folder: Path) -> None:
        """Answer `/token` on an origin."""
        self.issued: list[str] = []
        self.certificate = make_ca(folder, names=("token.example.org",))
        key = serialization.load_pem_private_key(self.certificate.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        origin.route("/token", self._answer)

    def _answer(self, asked: Asked) -> Response:
        pairs = [part.partition("=")[::2] for part in asked.query.split("&")]
        scopes = [_unquote(value) for name, value in pairs if name == "scope"]
        kind, _, basic = asked.headers.get("authorization", "").partition(" ")
        pushes = kind == "Basic" and base64.b64decode(basic).decode() == PUSHER
        access = []
        for scope in scopes:
            resource, name, actions = scope.split(":")
            granted = [action for action in actions.split(",") if pushes or action == "pull"]
            access.append({"type": resource, "name": name, "actions": granted})
        token = self._sign(access)
        self.issued.append(token)
        return text(json.dumps({"token": token, "expires_in": 300}), "application/json")

    def _sign(self, access: list[dict[str, object]]) -> str:
        now = int(time.time())
        chain = x509.load_pem_x509_certificates(self.certificate.chain.read_bytes())[:1]
        header = {
            "typ": "JWT",
            "alg": "ES256",
            "x5c": [base64.b64encode(c.public_bytes(serialization.Encoding.DER)).decode() for c in chain],
        }
        claims = {
            "iss": _ISSUER,
            "sub": "",
            "aud": _SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(len(self.issued)),
            "access": access,
        }
        signed = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@dataclass(frozen=True, slots=True)
class Registry:
    """Is a running registry: `authority` under a name that the recorder resolves to loopback."""

    authority: str
    folder: Path


@contextmanager
def registry(ca: TestCA, folder: Path, host: str, tokens: tuple[TokenServer, str] | None = None) -> Iterator[Registry]:
    """Run docker-registry over TLS; `tokens` is a token server and its URL."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tls = {"certificate": str(ca.chain), "key": str(ca.key)}
    settings: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "tests", "tls": tls},
    }
    if tokens:
        server, realm = tokens
        bundle = str(server.certificate.ca)
        auth = {"realm": realm, "service": _SERVICE, "issuer": _ISSUER, "rootcertbundle": bundle}
        settings["auth"] = {"token": auth}
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(path)], stdout=log, stderr=log)
    try:
        _wait(process, port, folder / "log")
        yield Registry(f"{host}:{port}", folder)
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(500):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"docker-registry did not start: {log.read_text()}")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unquote(value: str) -> str:
    return value.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",").replace("+", " ")

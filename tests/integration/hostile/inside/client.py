"""Is what a build does with its wire: asks in each step, and leaves a process that goes on asking."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import time
from pathlib import Path

_PROXY = ("127.0.0.1", 3128)
_STEP, _LOG = Path("/tmp/step"), Path("/tmp/log")  # noqa: S108  the cell's


def main(what: str, *arguments: str) -> None:
    """Do one of the things below."""
    {"leave": leave, "step": step, "ask": ask, "trust": trust, "found": found}[what](*arguments)


def status(url: str, connection: http.client.HTTPConnection | None = None) -> int | str:
    """Ask the proxy; give the status or the error's name."""
    mine = connection or http.client.HTTPConnection(*_PROXY, timeout=60)
    try:
        mine.request("GET", url)
        answer = mine.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        mine.close()
        return type(error).__name__
    return answer.status


def leave(url: str) -> None:
    """Leave a process that asks again and again, over new connections and over one that stays."""
    if os.fork():
        return
    os.setsid()
    kept = http.client.HTTPConnection(*_PROXY, timeout=60)
    waiting = socket.create_connection(_PROXY, 5)  # asks for half of something now, for the rest of it later
    waiting.sendall(f"GET {url} HTTP/1.1\r\nHost: ".encode())
    for _ in range(2000):
        began = _step()
        said = [status(url), status(url, kept)]
        if began == "offline" and waiting.fileno() >= 0:
            waiting.sendall(url.split("/")[2].encode() + b"\r\n\r\n")
            waiting.settimeout(5)
            said.append(int(waiting.recv(100).split(b" ")[1] or b"0"))
            waiting.close()
        if began == _step():
            with _LOG.open("a") as log:
                log.write(json.dumps([began, *said]) + "\n")
        time.sleep(0.01)


def _step() -> str:
    return _STEP.read_text() if _STEP.exists() else ""


def step(name: str, url: str) -> None:
    """Ask in a step, and give the process that was left the time to do so."""
    _STEP.write_text(name)
    with _LOG.open("a") as log:
        log.writelines(json.dumps([name, status(url)]) + "\n" for _ in range(3))
    until = time.monotonic() + 20
    while time.monotonic() < until and _lines(name) < 10:
        time.sleep(0.05)
    _STEP.write_text("between")


def _lines(name: str) -> int:
    return sum(json.loads(line)[0] == name for line in _LOG.read_text().splitlines())


def ask(path: str, *urls: str) -> None:
    """Ask for each, and write down the statuses."""
    Path(path).write_text(json.dumps([status(url) for url in urls]))


def trust(path: str, host: str, *bundles: str) -> None:
    """Shake hands with the proxy in the host's place, trusting one bundle after another; write down what came."""
    said = []
    for bundle in bundles:
        with socket.create_connection(_PROXY, 10) as sock:
            sock.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            assert b" 200 " in sock.recv(4096)
            try:
                with ssl.create_default_context(cafile=bundle).wrap_socket(sock, server_hostname=host):
                    said.append("trusted")
            except ssl.SSLCertVerificationError as error:
                said.append(error.verify_message)
    Path(path).write_text(json.dumps(said))


def found(path: str) -> None:
    """Give what was written down."""
    Path(path).write_text(_LOG.read_text())

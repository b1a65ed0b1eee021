"""Speaks HTTP by the octet, as clients of the proxy and as servers that no library would let misbehave so."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TIMEOUT = 8.0


@dataclass(frozen=True, slots=True)
class Reply:
    """Is what a client got: status 0 where there was no answer, `whole` False where it broke off in the middle."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True

    @property
    def refused(self) -> bool:
        """Tell whether the proxy said no, in its own words."""
        return self.headers.get("x-hermit") == "refused"

    @property
    def failed(self) -> bool:
        """Tell whether the proxy said that it could not."""
        return self.headers.get("x-hermit") == "failed"


class _Open(io.BufferedReader):
    """Stays open when http.client closes it at the end of an answer: the next one comes from the same buffer."""

    def close(self) -> None:
        """Do nothing."""


class Client:
    """Is one connection to a proxy (or to anything that listens on loopback)."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = TIMEOUT) -> None:
        """Connect."""
        self.sock: socket.socket = socket.create_connection((host, port), timeout)
        self._reader = _Open(socket.SocketIO(self.sock, "r"))

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        """Hang up."""
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.sock.close()
        self._reader.detach()

    def send(self, *parts: bytes) -> Self:
        """Send; a proxy that has hung up already is no error, what it said is still to be read."""
        with suppress(ConnectionError, ssl.SSLError):
            for part in parts:
                self.sock.sendall(part)
        return self

    def reply(self, method: str = "GET") -> Reply:
        """Read one answer, whatever becomes of it."""
        answer = http.client.HTTPResponse(_Sock(self._reader), method=method)  # type: ignore[arg-type]  # makefile is all it uses
        try:
            answer.begin()
        except (OSError, http.client.HTTPException):
            return Reply(0, {}, b"", whole=False)
        headers = {name.lower(): value for name, value in answer.getheaders()}
        if method == "CONNECT" and answer.status == 200:
            return Reply(200, headers, b"")
        try:
            return Reply(answer.status, headers, answer.read())
        except http.client.IncompleteRead as error:
            return Reply(answer.status, headers, error.partial, whole=False)
        except (OSError, http.client.HTTPException):
            return Reply(answer.status, headers, b"", whole=False)

    def rest(self, limit: int = 1 << 20) -> bytes:
        """Read until the other end hangs up, at most so much."""
        with suppress(OSError):
            return self._reader.read(limit) or b""
        return b""

    def connect(self, authority: str, *headers: str) -> Reply:
        """Ask for a tunnel."""
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *headers]
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1")).reply("CONNECT")

    def tls(self, ca: Path, name: str | None, *, verify: bool = True) -> Self:
        """Speak TLS from here on; `name` is what is sent (SNI) and verified."""
        context = ssl.create_default_context(cafile=str(ca))
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._reader.detach()
        self.sock = context.wrap_socket(self.sock, server_hostname=name)
        self._reader = _Open(socket.SocketIO(self.sock, "r"))
        return self


class _Sock:
    def __init__(self, reader: io.BufferedReader) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> io.BufferedReader:
        return self._reader


def ask(url: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Give the octets of a request in absolute form, as proxies are asked over plain http."""
    authority = url.split("/")[2]
    lines = [f"{method} {url} HTTP/1.1", f"Host: {authority}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


Serve = Callable[["Peer"], None]


class Peer:
    """Is one connection that a hostile server got: `head` is the first request's, and `sock` its to misuse."""

    def __init__(self, sock: socket.socket, head: bytes) -> None:
        """Take both."""
        self.sock = sock
        self.head = head

    def send(self, data: bytes) -> None:
        """Send."""
        self.sock.sendall(data)

    def next_head(self) -> bytes:
        """Read the head of the next request."""
        return _read_head(self.sock)


class Hostile:
    """Listens on loopback and does as it is told with every connection; counts them, and keeps what they said first.

    Without orders it is a victim: it answers like a service of the host that trusts whoever reaches it.
    """

    def __init__(
        self,
        serve: Serve | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        context: ssl.SSLContext | None = None,
        greeting: bytes = b"",
    ) -> None:
        """Bind; a greeting is sent before anything was asked."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.heads: list[bytes] = []
        self.ended = threading.Event()
        self._serve = serve or _serve_secret
        self._context = context
        self._greeting = greeting
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        """Accept."""
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop accepting."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._handle, args=(sock,), daemon=True).start()

    def _handle(self, sock: socket.socket) -> None:
        with suppress(OSError, ValueError):
            sock.settimeout(TIMEOUT)
            peer = self._context.wrap_socket(sock, server_side=True) if self._context else sock
            with peer:
                if self._greeting:
                    peer.sendall(self._greeting)
                    return
                head = _read_head(peer)
                self.heads.append(head)
                if head:
                    self._serve(Peer(peer, head))
        self.ended.set()


SECRET_OF_THE_HOST = b"a secret of the host"


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Give the octets of an answer that is framed as it should be."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _serve_secret(peer: Peer) -> None:
    peer.send(answer(SECRET_OF_THE_HOST, "Connection: close"))


def _read_head(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 1 << 20:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def eventually(test: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until a test gives something true, and give that; the last thing it gave when the time is over."""
    end = time.monotonic() + seconds
    while True:
        found = test()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.02)

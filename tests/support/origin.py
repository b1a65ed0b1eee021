"""Serves whatever a test needs of the internet, over real sockets on loopback, and remembers what was asked."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.support.testca import TestCA

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """Is one request as it came in: `target` as on the request line, header names in lower case."""

    method: str
    target: str
    headers: Headers
    body: bytes
    server: str

    @property
    def path(self) -> str:
        """Give the target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """Give what stands behind the question mark."""
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True)
class Response:
    """Is an answer; `raw` replaces all of it, byte for byte, and closes the connection."""

    body: bytes = b""
    status: int = 200
    headers: Headers = field(default_factory=dict)
    chunks: Iterator[bytes] | None = None
    raw: bytes | None = None


Route = Callable[[Asked], Response]


def text(body: str | bytes, content_type: str = "text/plain", status: int = 200, **headers: str) -> Response:
    """Make an answer of a type; `headers` are written with underscores for hyphens."""
    octets = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(octets, status, {"content-type": content_type, **named})


def file_response(asked: Asked, body: bytes, content_type: str = "application/octet-stream") -> Response:
    """Answer as a static server does: ETag, conditional requests (RFC 9110 section 13) and one range (section 14)."""
    etag = f'"{len(body)}-{sum(body) % 65521}"'
    headers = {
        "content-type": content_type,
        "etag": etag,
        "accept-ranges": "bytes",
        "last-modified": formatdate(1_700_000_000, usegmt=True),
    }
    if asked.headers.get("if-none-match") == etag:
        return Response(b"", 304, headers)
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("range", ""))
    if not found or asked.method not in {"GET", "HEAD"}:
        return Response(body, 200, headers)
    first, last = found.groups()
    start = int(first) if first else max(0, len(body) - int(last))
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    headers["content-range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return Response(body[start:stop], 206, headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    origin: Origin
    context: ssl.SSLContext | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients of these tests hang up on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def setup(self) -> None:
        """Shake hands in the connection's own thread, so that a silent client holds up nobody else."""
        if self.server.context is not None:
            self.request.settimeout(self.timeout)
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle_one_request(self) -> None:
        """Read a request, remember it and answer by its route."""
        with suppress(OSError):
            self._serve()
            return
        self.close_connection = True

    def _serve(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        asked = Asked(self.command, self.path, headers, self._body(headers), self.headers.get("host", ""))
        self._answer(asked, self.server.origin.answer(asked))

    def _body(self, headers: Headers) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", "0")))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, asked: Asked, response: Response) -> None:
        if response.raw is not None:
            self.wfile.write(response.raw)
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        named = {name.lower() for name in response.headers}
        bodyless = response.status in {204, 304}
        if response.chunks is not None:
            self.send_header("transfer-encoding", "chunked")
        elif "content-length" not in named and not bodyless:
            self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        if asked.method == "HEAD" or bodyless:
            return
        if response.chunks is None:
            self.wfile.write(response.body)
            return
        for chunk in response.chunks:
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_args: object) -> None:
        """Keep quiet: `Origin.asked` is the log."""


class Origin:
    """Is a server on loopback with routes that a test may change while it runs.

    A route belongs to a path, or to a prefix if it ends in `/*`; `host` narrows it to one name. What nobody routes
    is answered 404. `asked` lists every request in the order of arrival.
    """

    def __init__(self, ca: TestCA | None = None, *, address: str = "127.0.0.1", port: int = 0) -> None:
        """Bind; with an authority the server speaks TLS and offers HTTP/1.1 only."""
        self.asked: list[Asked] = []
        self._routes: dict[tuple[str | None, str], Route] = {}
        self._lock = threading.Lock()
        self._server = _Server((address, port), _Handler)
        self._server.origin = self
        self._server.context = ca.server_context("http/1.1") if ca else None
        self.scheme = "https" if ca else "http"
        self.address, self.port = address, self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop serving; connections under way end with their clients."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def authority(self, host: str) -> str:
        """Give host and port as a URL has them."""
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    def url(self, host: str, path: str = "/") -> str:
        """Give the URL of a path under a name that the recorder resolves to this server."""
        return f"{self.scheme}://{self.authority(host)}{path}"

    def route(self, path: str, answer: Route | Response | bytes | str, *, host: str | None = None) -> None:
        """Answer a path (or a prefix, `/x/*`) by a function, or always with the same."""
        if isinstance(answer, bytes | str):
            octets = answer.encode() if isinstance(answer, str) else answer
            self._routes[host, path] = lambda asked: file_response(asked, octets)
        elif isinstance(answer, Response):
            self._routes[host, path] = lambda _asked: answer
        else:
            self._routes[host, path] = answer

    def answer(self, asked: Asked) -> Response:
        """Remember a request and find its answer: the exact path before the longest prefix, a host's own first."""
        with self._lock:
            self.asked.append(asked)
        host = asked.server.rpartition(":")[0] if ":" in asked.server else asked.server
        folders = [asked.path[: cut + 1] + "*" for cut in range(len(asked.path) - 1, -1, -1) if asked.path[cut] == "/"]
        for path in (asked.path, *folders):
            for name in (host, None):
                if route := self._routes.get((name, path)):
                    return route(asked)
        return text("nothing here\n", status=404)

    def count(self, path: str, method: str | None = None) -> int:
        """Count the requests for a path."""
        return sum(1 for asked in self.asked if asked.path == path and method in {None, asked.method})

    def forget(self) -> None:
        """Empty the log, as between two recordings."""
        with self._lock:
            self.asked.clear()


@contextmanager
def plain_origin() -> Iterator[Origin]:
    """Give a server without TLS."""
    with Origin() as origin:
        yield origin

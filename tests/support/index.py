"""Is a package index like PyPI (PEP 503 and 691), private if it has a token, for pip and uv."""

from __future__ import annotations

import base64
import json

from tests.support.origin import Asked, Origin, Response, file_response
from tests.support.wheels import Wheel

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "text/html"


class PackageIndex:
    """Serves `/simple/<name>/` negotiated by Accept, and `/files/<wheel>` with ranges and conditionals.

    With `token` every answer needs `Authorization: Bearer <token>` or that token as a basic password.
    """

    def __init__(self, origin: Origin, *, token: str | None = None, prefix: str = "") -> None:
        """Take routes of an origin."""
        self.token = token
        self._prefix = prefix
        self._wheels: list[Wheel] = []
        origin.route(f"{prefix}/simple/*", self._page)
        origin.route(f"{prefix}/files/*", self._file)

    def add(self, wheel: Wheel) -> None:
        """Publish a wheel."""
        self._wheels.append(wheel)

    def _admitted(self, asked: Asked) -> bool:
        if self.token is None:
            return True
        kind, _, value = asked.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return value == self.token
        pair = base64.b64decode(value).decode() if kind.lower() == "basic" else ""
        return pair.partition(":")[2] == self.token

    def _denied(self) -> Response:
        return Response(b"no\n", 401, {"www-authenticate": 'Basic realm="index"', "content-type": "text/plain"})

    def _page(self, asked: Asked) -> Response:
        if not self._admitted(asked):
            return self._denied()
        name = asked.path.removeprefix(f"{self._prefix}/simple/").strip("/")
        wheels = [wheel for wheel in self._wheels if wheel.name.replace("_", "-") == name]
        if not wheels:
            return Response(b"no such project\n", 404, {"content-type": "text/plain"})
        wants_json = JSON_TYPE in asked.headers.get("accept", "")
        body = self._json(name, wheels) if wants_json else self._html(wheels)
        found = file_response(asked, body, JSON_TYPE if wants_json else HTML_TYPE)
        return Response(found.body, found.status, {**found.headers, "vary": "Accept", "cache-control": "max-age=0"})

    def _json(self, name: str, wheels: list[Wheel]) -> bytes:
        files = [
            {
                "filename": wheel.file_name,
                "url": f"{self._prefix}/files/{wheel.file_name}",
                "hashes": {"sha256": wheel.sha256},
            }
            for wheel in wheels
        ]
        return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": files}).encode()

    def _html(self, wheels: list[Wheel]) -> bytes:
        links = "".join(
            f'<a href="{self._prefix}/files/{wheel.file_name}#sha256={wheel.sha256}">{wheel.file_name}</a>'
            for wheel in wheels
        )
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def _file(self, asked: Asked) -> Response:
        if not self._admitted(asked):
            return self._denied()
        name = asked.path.rpartition("/")[2]
        wheel = next((wheel for wheel in self._wheels if wheel.file_name == name), None)
        if wheel is None:
            return Response(b"", 404)
        found = file_response(asked, wheel.data)
        # As PyPI says of files: a client that has one does not ask again.
        return Response(found.body, found.status, {**found.headers, "cache-control": "max-age=31536000, immutable"})

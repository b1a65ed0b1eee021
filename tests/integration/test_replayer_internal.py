"""Shows that the engine which answers for the recorder streams what it should and lets nobody else in."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import TypeVar

import pytest

from hermit_proxy.policy import Mode
from hermit_proxy.replayer.internal_server import InternalServer
from hermit_proxy.run.ca import RunCA
from hermit_proxy.run.session import Session
from hermit_proxy.snapshot.entry import Entry
from tests.support.replaying import HOST, Project

BIG = bytes(range(256)) * 20_000
_T = TypeVar("_T")


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)  # noqa: S310  a URL of this test's own
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  as above
            assert isinstance(response, HTTPResponse)
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def serve(tmp_path: Path, scenario: Callable[[InternalServer, Entry], _T]) -> _T:
    """Run a scenario in a thread while the server runs."""
    project = Project(tmp_path / "project")
    entry = project.add(f"https://{HOST}/big", BIG)
    rundir = tmp_path / "run"
    rundir.mkdir()
    (rundir / "ca.pem").write_bytes(RunCA.create().cert_pem)
    project.settings().write(rundir)

    async def main() -> _T:
        session = Session.load(rundir, Mode.RECORD)
        server = InternalServer(session)
        await server.start()
        try:
            return await asyncio.to_thread(scenario, server, entry)
        finally:
            await server.close()
            await server.close()
            assert session.counts.requests == 0
            session.close()

    return asyncio.run(main())


def test_an_entry_is_served_under_its_url(tmp_path: Path) -> None:
    def scenario(server: InternalServer, entry: Entry) -> None:
        url = server.url_for(entry)
        assert ask(url) == (200, BIG)
        assert ask(url, range="bytes=5-9") == (206, BIG[5:10])
        assert ask(url, "HEAD") == (200, b"")
        assert ask(url, "POST", b"x" * 1000) == (200, BIG)

    serve(tmp_path, scenario)


@pytest.mark.parametrize("change", ["secret", "entry", "kind", "nothing"])
def test_nothing_else_is_served(tmp_path: Path, change: str) -> None:
    def scenario(server: InternalServer, entry: Entry) -> int:
        url = server.url_for(entry)
        base, secret, kind, name = url.rsplit("/", 3)
        urls = {
            "secret": f"{base}/{'0' * len(secret)}/{kind}/{name}",
            "entry": f"{base}/{secret}/{kind}/{'0' * 64}",
            "kind": f"{base}/{secret}/other/{name}",
            "nothing": url,
        }
        return ask(urls[change])[0]

    assert serve(tmp_path, scenario) == (200 if change == "nothing" else 404)


def test_another_host_is_refused(tmp_path: Path) -> None:
    """A page in somebody's browser that resolves its own name to loopback gets nothing."""
    status = serve(tmp_path, lambda server, entry: ask(server.url_for(entry), host="evil.example.org")[0])
    assert status == 400


def test_hermit_internal_is_served_under_its_url(tmp_path: Path) -> None:
    body = b"artifact"
    digest = hashlib.sha256(body).hexdigest()

    def scenario(server: InternalServer, _entry: Entry) -> None:
        assert ask(server.url_for_internal_host("/health"))[0] == 200
        assert ask(server.url_for_internal_host("/ca.pem"))[1] == (tmp_path / "run/ca.pem").read_bytes()
        assert ask(server.url_for_internal_host(f"/upload/sha256/{digest}"), "PUT", body)[0] == 201
        assert ask(server.url_for_internal_host(f"/upload/sha256/{digest}"), "PUT", body + b"!")[0] == 422
        assert ask(server.url_for_internal_host("/health/../../entry/x"))[0] in {400, 404}
        assert ask(server.url_for_internal_host("/elsewhere"), "POST", body)[0] == 404

    serve(tmp_path, scenario)

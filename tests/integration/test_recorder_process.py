"""The recorder as a process of its own: started by ProxyProcess, told what to do, and filling stores."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hermit_proxy.errors import UsageError
from hermit_proxy.fill import fill
from hermit_proxy.policy import Mode
from hermit_proxy.run.events import Outcome, read_log
from hermit_proxy.run.process import ProxyProcess, ProxySettings
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.open import open_store
from tests.support.origin import Asked, Origin, Response, text
from tests.support.recording import Client, Got
from tests.support.testca import TestCA, make_ca

Ask = Callable[[str], Coroutine[Any, Any, Got]]
Scenario = Callable[[ProxyProcess, Ask], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def origin(ca: TestCA) -> Iterator[Origin]:
    with Origin(ca) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, ca: TestCA) -> ProxySettings:
    rules = tmp_path / "rules.yaml"
    rules.write_text('rules:\n- {pattern: "127.0.0.1:.*/.*", action: ALLOW}\n')
    return ProxySettings(
        rules=rules,
        snapshot=tmp_path / "network",
        store=str(tmp_path / "store"),
        pool="test",
        upstream_allow=("127.0.0.1",),
        upstream_trust=ca.ca,
    )


def run(
    settings: ProxySettings, rundir: Path, scenario: Callable[[ProxyProcess, Ask], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        proxy = await ProxyProcess.start(Mode.RECORD, settings, rundir)
        try:
            await proxy.ready()
            with socket.create_server(("127.0.0.1", 0)) as sock:
                proxy.listen(sock)
                port = sock.getsockname()[1]

            async def ask(url: str) -> Got:
                return await asyncio.to_thread(_ask, port, rundir / "ca.pem", url)

            await scenario(proxy, ask)
        finally:
            await proxy.stop()

    asyncio.run(main())


def _ask(port: int, trust: Path, url: str, method: str = "GET", body: bytes = b"") -> Got:
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    with Client(port, trust) as client:
        if scheme == "https":
            client.tunnel(authority)
        asked = f"/{path}" if scheme == "https" else url
        client.send(
            f"{method} {asked} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        return client.receive(method)


def test_a_process_records_counts_and_leaves_a_whole_log(
    tmp_path: Path, origin: Origin, settings: ProxySettings
) -> None:
    origin.route("/file", b"x" * 300_000)

    async def scenario(proxy: ProxyProcess, ask: Ask) -> None:
        assert not (proxy.rundir / "ca-key.pem").exists()
        assert [(await ask(origin.url("127.0.0.1", "/file"))).status for _ in range(2)] == [200, 200]
        assert (await ask(origin.url("127.0.0.1", "/missing"))).status == 404
        counts = await proxy.finish()
        assert (counts.requests, counts.recorded, counts.replayed, counts.failed) == (3, 2, 1, 0)
        assert await proxy.wait_closed() == 0

    run(settings, tmp_path / "run", scenario)
    outcomes = [event.outcome for event in read_log(tmp_path / "run" / "requests.jsonl")]
    assert outcomes == [Outcome.RECORDED, Outcome.REPLAYED, Outcome.RECORDED]


def test_a_step_takes_the_network_away_at_once(tmp_path: Path, origin: Origin, settings: ProxySettings) -> None:
    origin.route("/file", b"x")

    async def scenario(proxy: ProxyProcess, ask: Ask) -> None:
        for network, status in (("none", 403), ("proxy", 200)):
            await proxy.begin_step(f"with {network}", network)
            assert (await ask(origin.url("127.0.0.1", "/file"))).status == status
            await proxy.end_step()
        assert (await ask(origin.url("127.0.0.1", "/file"))).status == 403

    run(settings, tmp_path / "run", scenario)


def test_the_internal_host_is_served(tmp_path: Path, settings: ProxySettings) -> None:
    async def scenario(proxy: ProxyProcess, ask: Ask) -> None:
        assert (await ask("http://hermit.internal/ca.pem")).body == (proxy.rundir / "ca.pem").read_bytes()
        assert (await ask("http://hermit.internal/health")).status == 200

    run(settings, tmp_path / "run", scenario)


def test_an_answer_under_way_is_waited_for_when_the_run_ends(
    tmp_path: Path, origin: Origin, settings: ProxySettings
) -> None:
    started = threading.Event()

    def slowly(_asked: Asked) -> Response:
        started.set()
        return Response(chunks=iter([b"x" * 70_000] * 50))

    origin.route("/slow", slowly)

    async def scenario(proxy: ProxyProcess, ask: Ask) -> None:
        answer = asyncio.create_task(ask(origin.url("127.0.0.1", "/slow")))
        await asyncio.to_thread(started.wait, 20)
        counts = await proxy.finish()
        assert len((await answer).body) == 3_500_000
        assert counts.recorded == 1

    run(settings, tmp_path / "run", scenario)


def test_rules_that_are_wrong_are_reported_with_their_line(tmp_path: Path, settings: ProxySettings) -> None:
    settings.rules.write_text("rules:\n- {pattern: x/.*, action: ALOW}\n")

    async def scenario() -> None:
        proxy = await ProxyProcess.start(Mode.RECORD, settings, tmp_path / "run")
        with pytest.raises(UsageError, match=r"rules.yaml:2"):
            await proxy.ready()
        await proxy.stop()

    asyncio.run(scenario())


def test_nobody_can_look_into_the_process(tmp_path: Path, settings: ProxySettings) -> None:
    def look(pid: int) -> None:
        # To whom the kernel gives the files of processes that are not dumpable.
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0
        with pytest.raises(PermissionError) if os.geteuid() else nullcontext():
            assert "Max core file size        0 " in Path(f"/proc/{pid}/limits").read_text()

    async def scenario(proxy: ProxyProcess, _ask: Ask) -> None:
        await asyncio.to_thread(look, proxy.pid)

    run(settings, tmp_path / "run", scenario)


def test_a_store_without_room_ends_the_run_with_words(tmp_path: Path, origin: Origin, settings: ProxySettings) -> None:
    origin.route("/file", b"x" * 300_000)
    store = tmp_path / "store"

    async def scenario(proxy: ProxyProcess, ask: Ask) -> None:
        await ask(origin.url("127.0.0.1", "/file"))
        for folder in store.rglob("*"):
            if folder.is_dir():
                folder.chmod(0o500)
        (store / "bodies").rename(store / "gone")
        (store / "bodies").write_text("a file where a folder should be")
        origin.route("/other", b"y" * 300_000)
        await ask(origin.url("127.0.0.1", "/other"))
        assert await asyncio.wait_for(proxy.wait_closed(), 20) == 4

    run(settings, tmp_path / "run", scenario)
    last = list(read_log(tmp_path / "run" / "requests.jsonl"))[-1]
    assert (last.outcome, last.entry) == (Outcome.FAILED, None)


def test_fill_confirms_what_is_equal_and_names_what_is_not(
    tmp_path: Path, origin: Origin, settings: ProxySettings
) -> None:
    origin.route("/same", text("same"))
    origin.route("/changed", text("before"))
    origin.route("/gone", text("here"))
    origin.route("/redirect", Response(b"", 302, {"location": "/signed?sig=abc"}))
    origin.route("/signed", lambda asked: text("ok" if "sig=abc" in asked.target else "no", status=200))
    paths = ("/same", "/changed", "/gone", "/redirect", "/signed")

    async def record(proxy: ProxyProcess, ask: Ask) -> None:
        for path in ("/redirect", "/same", "/changed", "/gone", "/signed"):
            await ask(origin.url("127.0.0.1", path))
        await proxy.finish()

    run(settings, tmp_path / "run", record)
    entries = [event.entry for event in read_log(tmp_path / "run" / "requests.jsonl") if event.entry is not None]
    assert len(entries) == len(paths)
    posted = Entry("POST", origin.url("127.0.0.1", "/search"), 200, body="a" * 64, sha256="b" * 64, size=1)
    origin.route("/changed", text("after"))
    origin.route("/gone", text("busy", status=503))
    fresh = replace(settings, store=str(tmp_path / "fresh"))
    report = asyncio.run(fill(fresh, tmp_path / "fill", [*entries, posted]))
    assert {entry.url for entry in report.confirmed} == {
        origin.url("127.0.0.1", path) for path in ("/same", "/redirect", "/signed")
    }
    assert [different.entry.url for different in report.differing] == [origin.url("127.0.0.1", "/changed")]
    failed = {unfetched.entry.url: unfetched.reason for unfetched in report.failed}
    assert "503" in failed[origin.url("127.0.0.1", "/gone")]
    assert "body" in failed[posted.url]
    store = open_store(fresh.store, environ=os.environ)
    for entry in report.confirmed:
        assert store.observations("test", entry.id)
    assert not store.observations("test", report.differing[0].entry.id)
    store.close()


def test_the_ca_of_a_run_is_the_only_one_that_its_clients_need(
    tmp_path: Path, origin: Origin, settings: ProxySettings
) -> None:
    origin.route("/file", b"x")

    async def scenario(proxy: ProxyProcess, ask: Ask) -> None:
        assert (await ask(origin.url("127.0.0.1", "/file"))).status == 200
        (proxy.rundir / "ca.pem").write_bytes(settings.upstream_trust.read_bytes() if settings.upstream_trust else b"")
        with pytest.raises(ssl.SSLError):
            await ask(origin.url("127.0.0.1", "/file"))

    run(settings, tmp_path / "run", scenario)


def _high_water_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _upload(port: int, size: int) -> int:
    """Send `size` bytes of zeros under their true digest; give the status."""
    block = bytes(1 << 20)
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(block)
    url = f"http://hermit.internal/upload/sha256/{digest.hexdigest()}"
    with Client(port, Path("unused")) as client:
        client.send(f"PUT {url} HTTP/1.1\r\nHost: hermit.internal\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size >> 20):
            client.send(block)
        return client.receive("PUT").status


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory of a process that is not dumpable")
def test_two_gigabytes_in_either_direction_take_bounded_memory(
    tmp_path: Path, origin: Origin, settings: ProxySettings
) -> None:
    size = 2 << 30
    block = bytes(1 << 20)
    origin.route("/big", lambda _asked: Response(chunks=(block for _ in range(size >> 20))))

    def drain(port: int, trust: Path) -> int:
        with Client(port, trust) as client:
            authority = f"127.0.0.1:{origin.port}"
            client.tunnel(authority)
            client.send(f"GET /big HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
            received = 0
            while data := client.sock.recv(1 << 18):
                received += len(data)
            return received

    async def main() -> None:
        proxy = await ProxyProcess.start(Mode.RECORD, settings, tmp_path / "run")
        try:
            await proxy.ready()
            with socket.create_server(("127.0.0.1", 0)) as sock:
                proxy.listen(sock)
                port = sock.getsockname()[1]
            assert await asyncio.to_thread(drain, port, tmp_path / "run" / "ca.pem") > size
            assert await asyncio.to_thread(_high_water_mib, proxy.pid) < 150
            assert await asyncio.to_thread(_upload, port, size) == 201
            assert await asyncio.to_thread(_high_water_mib, proxy.pid) < 150
        finally:
            await proxy.stop()

    asyncio.run(main())

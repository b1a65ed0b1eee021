"""Puts one real proxy process under attack, and holds it to its log and its life after each one."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar
from unittest import mock

from hermit_proxy.policy import Mode
from hermit_proxy.request.target import host_file_name, parse_url
from hermit_proxy.run.events import Outcome, RequestEvent, read_log
from hermit_proxy.run.process import ProxyProcess, ProxySettings
from hermit_proxy.run.session import Counts
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import write_tree
from hermit_proxy.store.observation import Observation
from hermit_proxy.store.open import open_store
from tests.integration.hostile.wire import Client, Reply, ask, eventually
from tests.support.hermit import PRIVATE
from tests.support.origin import Origin

GOOD, EVIL, OTHER = "good.example.org", "evil.example.org", "other.example.org"
NAMES = (GOOD, EVIL, OTHER, "inside.example.net")
POOL = "hostile"
# The widest rules that can be written: what still stops an attack is not the project's own caution.
OPEN_RULES = "rules:\n- {pattern: '.*/.*', action: ALLOW}\n- {pattern: '.*:[0-9]+/.*', action: ALLOW}\n"
_START_SECONDS = 60.0
T = TypeVar("T")


class Proxy:
    """Is one proxy process, driven from a thread so that tests may be plain functions."""

    def __init__(self, world: World, mode: Mode, settings: ProxySettings, rundir: Path, program: Path | None) -> None:
        """Start it and wait until it listens; raise what it could not start for."""
        self.mode = mode
        self.rundir = rundir
        self._world = world
        self._seen = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        with mock.patch.object(sys, "executable", str(program or sys.executable)):
            self.process = self.run(ProxyProcess.start(mode, settings, rundir))
        try:
            self.run(self.process.ready())
            with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
                self.port: int = listener.getsockname()[1]
                self.run(self._listen(listener))
        except BaseException:
            self.stop()
            raise

    async def _listen(self, listener: socket.socket) -> None:
        self.process.listen(listener)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        """Stop it."""
        self.stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop that supervises the process."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    def finish(self) -> Counts:
        """End it in order."""
        return self.run(self.process.finish())

    def stop(self) -> None:
        """End it; stopping twice is safe."""
        if not self._loop.is_closed():
            self.run(self.process.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def ca(self) -> Path:
        """Give the certificate that clients of this run trust."""
        return self.rundir / "ca.pem"

    @property
    def peak(self) -> int:
        """Give the most memory that the process ever held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) << 10

    def client(self, timeout: float = 8.0) -> Client:
        """Connect to it."""
        return Client(self.port, timeout=timeout)

    def send(self, *parts: bytes, method: str = "GET") -> Reply:
        """Send octets on a connection of their own and read one answer."""
        with self.client() as client:
            return client.send(*parts).reply(method)

    def get(self, url: str, *headers: str) -> Reply:
        """Ask for a URL: plain http in absolute form, https through a tunnel."""
        if url.startswith("http://"):
            return self.send(ask(url, *headers))
        authority, _, path = url.removeprefix("https://").partition("/")
        host, _, port = authority.partition(":")
        with self.client() as client:
            reply = client.connect(f"{host}:{port or 443}")
            if reply.status != 200:
                return reply
            lines = [f"GET /{path} HTTP/1.1", f"Host: {authority}", *headers]
            return client.tls(self.ca, host).send("\r\n".join([*lines, "", ""]).encode("latin-1")).reply()

    def events(self) -> list[RequestEvent]:
        """Read the log."""
        return list(read_log(self.rundir / "requests.jsonl"))

    def still_good(self) -> None:
        """Have an honest client served: whatever happened before, the proxy lives and works."""
        reply = self.get(self._world.good)
        assert (reply.status, reply.body) == (200, b"good"), reply
        assert not self.process.died.done()

    def verdicts(self, count: int = 1) -> list[RequestEvent]:
        """Give the lines of the log since the last call, which are exactly so many, and see that the proxy lives."""
        eventually(lambda: len(self.events()) >= self._seen + count)
        self.still_good()
        eventually(lambda: len(self.events()) >= self._seen + count + 1)
        new = self.events()[self._seen :]
        self._seen += len(new)
        found = [event for event in new if event.url != self._world.good]
        assert len(found) == count, [(e.outcome.value, e.method, e.url, e.reason) for e in found]
        return found

    def verdict(self, outcome: Outcome = Outcome.REFUSED, reason: str = "") -> RequestEvent:
        """Give the one line since the last call, which says this."""
        event = self.verdicts()[0]
        assert event.outcome is outcome, event
        assert reason in (event.reason or ""), event
        if outcome is Outcome.REFUSED or outcome is Outcome.FAILED:
            assert event.reason
        return event


class World:
    """Is a project, a store, an honest origin with names of its own, and whatever proxies are started there."""

    def __init__(self, folder: Path, *, trust: Path | None = None, names: Iterable[str] = NAMES) -> None:
        """Write what is there before the first run."""
        self.folder = folder
        self.trust = trust
        self.store_folder = folder / "store"
        self.network = folder / "network"
        self.rules_file = folder / "rules.yaml"
        self.origin = Origin()
        self.origin.route("/good", b"good")
        self.good = self.origin.url(GOOD, "/good")
        self._entries: list[Entry] = []
        self._proxies: list[Proxy] = []
        self._names = tuple(names)
        self._runs = 0
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"127.0.0.1 {name}\n" for name in ("localhost", *self._names)]
        (folder / "hosts").write_text("".join(lines))
        self.rules_file.write_text(OPEN_RULES)
        self.remember(self.good, b"good")

    def __enter__(self) -> Self:
        """Serve."""
        self.origin.__enter__()
        return self

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        """Stop everything."""
        for proxy in self._proxies:
            with suppress(Exception):
                proxy.stop()
        self.origin.__exit__(None, None, None)

    def remember(
        self, url: str, body: bytes, *, observed: bool = True, stored: bool = True, entry: Entry | None = None
    ) -> Entry:
        """Put an answer into snapshot, store and observations, as a recording would have."""
        sha256 = hashlib.sha256(body).hexdigest()
        made = entry or Entry("GET", url, 200, sha256=sha256, size=len(body), headers=(("content-type", "text/plain"),))
        store = open_store(str(self.store_folder), environ={})
        try:
            if stored:
                with store.writer() as writer:
                    writer.write(body)
                    writer.commit()
            if observed:
                store.observe(POOL, Observation(made.id, made.sha256, "0" * 32, "a-run", time.time()))
        finally:
            store.close()
        self._entries.append(made)
        write_tree(self.network, Snapshot(self._entries))
        return made

    def edit(self, url: str, old: str, new: str) -> None:
        """Edit the snapshot's file of a URL as a person with an editor would."""
        path = self.network / host_file_name(parse_url(url))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def settings(self, allow: Iterable[str] | None, **more: Any) -> ProxySettings:
        """Give the settings of a run; the honest origin's names are allowed unless said otherwise."""
        opened = [f"{name}:{self.origin.port}" for name in (GOOD, EVIL)]
        base = ProxySettings(
            rules=self.rules_file,
            snapshot=self.network,
            store=str(self.store_folder),
            pool=POOL,
            clock=(time.time(),),
            upstream_allow=(*opened, *(allow or ())),
            upstream_trust=self.trust,
        )
        return replace(base, **more)

    def start(
        self,
        mode: Mode | str = Mode.RECORD,
        *,
        allow: Iterable[str] | None = None,
        rules: str | None = None,
        program: Path | None = None,
        sabotage: Path | None = None,
        **more: Any,
    ) -> Proxy:
        """Start a proxy; `sabotage` is a script that runs in place of the recorder's module."""
        if rules is not None:
            self.rules_file.write_text(rules)
        rundir = self.folder / f"run-{self._runs}"
        self._runs += 1
        settings = self.settings(allow, **more)
        found = Proxy(self, Mode(mode), settings, rundir, program or self._program(sabotage))
        self._proxies.append(found)
        return found

    def _program(self, sabotage: Path | None) -> Path:
        """Write what runs python where names lead to loopback, by an /etc/hosts of the test's own."""
        path = self.folder / f"python-{'sabotaged' if sabotage else 'named'}"
        changed = f'shift 3; set -- -I {shlex.quote(str(sabotage))} "$@"\n' if sabotage else ""
        inner = f'mount --bind {shlex.quote(str(self.folder / "hosts"))} /etc/hosts && exec "$@"'
        python = shlex.quote(sys.executable)
        path.write_text(f'#!/bin/sh\n{changed}exec {shlex.join(PRIVATE)} sh -c {shlex.quote(inner)} sh {python} "$@"\n')
        path.chmod(0o755)
        return path

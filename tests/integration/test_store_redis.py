"""A real redis-server shares bodies between machines, and nothing that it gets wrong is ever served."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from hermit_proxy.snapshot import format as file_format
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store.body import (
    Body,
    BodyCorruptError,
    BodyMissingError,
    DigestMismatchError,
    Store,
    StoreError,
    StoreFullError,
    StoreGoneError,
)
from hermit_proxy.store.evidence import PoolEvidence
from hermit_proxy.store.files import FileStore
from hermit_proxy.store.gc import gc
from hermit_proxy.store.layered import LayeredStore
from hermit_proxy.store.named import PoolRepository
from hermit_proxy.store.observation import Observation
from hermit_proxy.store.open import open_store
from hermit_proxy.store.redis import RedisBodies
from hermit_proxy.store.verify import verify
from tests.support.repository import HOST, NETWORK, git

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

CHUNK = 1000
DAY = 24 * 3600.0
OLD_SECONDS = 1.0
KILLED = """
import io, os, signal, sys
import redis
from hermit_proxy.store.redis import RedisBodies
client = redis.Redis(unix_socket_path=sys.argv[1])
bodies = RedisBodies(client, "here", chunk=1000)
class Dying(io.BytesIO):
    def read(self, size=-1):
        if self.tell() >= 5000:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(size)
bodies.put(sys.argv[2], 10000, Dying(bytes(10000)))
"""


class Server:
    """Is one redis-server on a Unix socket in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir()
        self.socket = folder / "redis.sock"
        basic = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen(["redis-server", *basic, *options], stdout=subprocess.DEVNULL)
        self.url = f"unix://{self.socket}"
        deadline = time.monotonic() + 30
        while not self.socket.exists() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), **options)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(tmp_path / f"redis{len(servers)}", *options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def machine(server: Server, tmp_path: Path) -> Callable[[str], LayeredStore]:
    """Give the store as machines with local copies of their own have it, with small chunks."""

    def make(name: str) -> LayeredStore:
        return LayeredStore(FileStore(tmp_path / name), RedisBodies(server.client(), "here", chunk=CHUNK))

    return make


def put(store: Store, data: bytes) -> Body:
    with store.writer() as writer:
        writer.write(data)
        return writer.commit()


def keys(server: Server, pattern: str) -> list[str]:
    found: Any = server.client().keys(pattern)
    return sorted(key.decode() for key in found)


def age(server: Server, body: Body, seconds: float = 10 * DAY) -> None:
    """Let a shared body be older than it is."""
    key = f"hermit:body:{{{body.sha256}}}"
    assert server.client().exists(key)
    server.client().hset(key, "time", time.time() - seconds)


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK, 12345])
def test_what_one_machine_writes_another_reads(
    machine: Callable[[str], LayeredStore], server: Server, size: int
) -> None:
    data = os.urandom(size)
    one, two = machine("one"), machine("two")
    body = put(one, data)
    assert body == (hashlib.sha256(data).hexdigest(), size)
    assert len(keys(server, "hermit:chunk:*")) == -(-size // CHUNK)
    assert all(server.client().ttl(key) == -1 for key in keys(server, "hermit:*"))
    assert two.has(body.sha256)
    assert two.path(*body).read_bytes() == data
    assert two.read(body.sha256) == data
    with machine("three").open_body(*body) as file:
        assert file.read() == data
    assert machine("four").read(body.sha256) == data
    assert [found[:2] for found in two.bodies()] == [body]


def test_no_value_is_larger_than_a_chunk_and_a_large_body_needs_little_memory(server: Server, tmp_path: Path) -> None:
    script = """
import pathlib, sys
from hermit_proxy.store.open import open_store
store = open_store(sys.argv[1], environ={"XDG_CACHE_HOME": sys.argv[2] + "/one"})
with store.writer() as writer:
    for number in range(200):
        writer.write(bytes([number]) * (1 << 20))
    body = writer.commit()
other = open_store(sys.argv[1], environ={"XDG_CACHE_HOME": sys.argv[2] + "/two"})
assert other.path(*body).stat().st_size == 200 << 20
# Not ru_maxrss: that one is inherited from whoever started this.
status = pathlib.Path("/proc/self/status").read_text()
print(int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024)
"""
    command = [sys.executable, "-c", script, server.url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120  # MiB, of which the interpreter with Redis' client takes half.
    client: Any = server.client()
    assert max(client.strlen(key) for key in keys(server, "hermit:chunk:*")) == 4 << 20


def test_a_missing_body_is_named(machine: Callable[[str], LayeredStore]) -> None:
    store = machine("one")
    for ask in (store.path, store.read, store.open_body, store.check):
        with pytest.raises(BodyMissingError, match="a" * 64):
            ask("a" * 64)
    assert not store.has("a" * 64)


@pytest.mark.parametrize("fault", ["flipped bit", "other content", "shorter", "chunk gone", "chunks swapped"])
@pytest.mark.parametrize("ask", ["path", "read", "open_body", "check"])
def test_a_wrong_body_in_redis_is_named_refused_put_aside_and_mended(
    machine: Callable[[str], LayeredStore], server: Server, fault: str, ask: str
) -> None:
    data = os.urandom(3 * CHUNK)
    body = put(machine("one"), data)
    client: Any = server.client()
    first, second, _ = keys(server, "hermit:chunk:*")
    value = client.get(first)
    if fault == "flipped bit":
        client.set(first, bytes([value[0] ^ 1]) + value[1:])
    elif fault == "other content":
        client.set(first, os.urandom(CHUNK))
    elif fault == "shorter":
        client.set(first, value[:-1])
    elif fault == "chunk gone":
        client.delete(second)
    else:
        client.set(first, client.get(second))
        client.set(second, value)
    two = machine("two")
    with pytest.raises(BodyCorruptError, match=body.sha256) as caught:
        getattr(two, ask)(body.sha256)
    assert "here" in caught.value.where
    assert list((two._local.root / "tmp").iterdir()) == []
    assert not two.has(body.sha256)
    assert two.stats().quarantined == 1
    assert all(client.ttl(key) > 0 for key in keys(server, "hermit:*"))
    put(machine("three"), data)
    assert two.path(*body).read_bytes() == data


def test_a_body_that_lost_a_chunk_is_mended_by_writing_it_again(
    machine: Callable[[str], LayeredStore], server: Server
) -> None:
    data = os.urandom(3 * CHUNK)
    body = put(machine("one"), data)
    server.client().delete(keys(server, "hermit:chunk:*")[1])
    put(machine("one"), data)
    assert machine("two").path(*body).read_bytes() == data
    assert len(keys(server, "hermit:chunk:*")) == 3


def test_a_corrupt_local_copy_is_fetched_again(machine: Callable[[str], LayeredStore]) -> None:
    data = os.urandom(3 * CHUNK)
    store = machine("one")
    body = put(store, data)
    for ask in (store.path, store.read, lambda sha256: store.open_body(sha256).close()):
        path = store.path(*body)
        path.chmod(0o600)
        path.write_bytes(b"wrong")
        ask(body.sha256)
        assert path.read_bytes() == data
    assert store.stats().layers[1].quarantined == 3


def test_writing_again_stores_nothing_twice(machine: Callable[[str], LayeredStore], server: Server) -> None:
    put(machine("one"), b"x" * 3000)
    before = keys(server, "hermit:*")
    put(machine("two"), b"x" * 3000)
    assert keys(server, "hermit:*") == before


def test_writers_of_the_same_and_different_bodies_at_once_lose_none(
    machine: Callable[[str], LayeredStore], server: Server
) -> None:
    same = [os.urandom(5 * CHUNK + number) for number in range(5)]

    def work(number: int) -> list[Body]:
        store = machine(f"machine{number}")
        return [put(store, data) for data in [*same, os.urandom(2 * CHUNK), b"%d" % number]]

    with ThreadPoolExecutor(8) as pool:
        bodies = {body for written in pool.map(work, range(8)) for body in written}
    reader = machine("reader")
    assert len(bodies) == 5 + 16
    assert verify(reader).corrupt == ()
    assert {found.sha256 for found in reader.bodies()} == {body.sha256 for body in bodies}
    # The chunks of those who came second are gone: what is there is what manifests name.
    client: Any = server.client()
    named = sum(int(client.hget(key, "chunks")) for key in keys(server, "hermit:body:*"))
    assert len(keys(server, "hermit:chunk:*")) == named


def test_a_writer_killed_in_mid_write_leaves_no_body_and_its_chunks_expire(
    machine: Callable[[str], LayeredStore], server: Server
) -> None:
    sha256 = hashlib.sha256(bytes(10000)).hexdigest()
    done = subprocess.run([sys.executable, "-c", KILLED, str(server.socket), sha256], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not machine("one").has(sha256)
    left = keys(server, "hermit:*")
    assert len(left) == 5
    assert all(0 < int(server.client().ttl(key)) <= 6 * 3600 for key in left)
    body = put(machine("one"), bytes(10000))
    assert machine("two").path(*body).read_bytes() == bytes(10000)


def test_an_upload_whose_start_has_expired_is_not_published(server: Server) -> None:
    sha256 = hashlib.sha256(bytes(3000)).hexdigest()

    class Slow:
        count = 0

        def read(self, size: int) -> bytes:
            self.count += 1
            if self.count == 3:
                server.client().delete(keys(server, "hermit:chunk:*")[0])
            return bytes(size) if self.count <= 3 else b""

    with pytest.raises(StoreError, match="expired"):
        RedisBodies(server.client(), "here", chunk=CHUNK).put(sha256, 3000, Slow())  # type: ignore[arg-type]  # reads only
    assert keys(server, "hermit:body:*") == []


def test_an_unexpected_body_is_shared_with_nobody(machine: Callable[[str], LayeredStore], server: Server) -> None:
    with machine("one").writer() as writer:
        writer.write(b"x")
        with pytest.raises(DigestMismatchError):
            writer.commit("a" * 64)
    with machine("one").writer() as writer:
        writer.write(b"x")
    assert keys(server, "hermit:*") == []


def test_redis_killed_in_mid_run_is_told_and_its_return_is_enough_to_go_on(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve("--appendonly", "yes", "--appendfsync", "always")
    store = open_store(server.url, environ={"XDG_CACHE_HOME": str(tmp_path / "one")})
    other = open_store(server.url, environ={"XDG_CACHE_HOME": str(tmp_path / "two")})
    body = put(store, b"before")
    note = Observation("a" * 64, body.sha256, "one", "run", 1.0)
    store.observe("p", note)
    server.kill()
    asked: list[Callable[[], object]] = [
        lambda: put(store, b"after"),
        lambda: store.has("b" * 64),
        lambda: other.path(*body),
        lambda: other.read(body.sha256),
        lambda: store.observe("p", note),
        lambda: store.observations("p", "a" * 64),
        lambda: PoolEvidence(store, "p").observed(Entry("GET", "https://a.example.org/", 200)),
        lambda: list(store.bodies()),
        lambda: list(store.observed("p")),
        lambda: store.delete(body.sha256, older_than=DAY),
        store.pools,
        store.stats,
    ]
    for ask in asked:
        with pytest.raises(StoreGoneError, match=r"redis\.sock") as caught:
            ask()
        assert caught.value.hint
    assert store.path(*body).read_bytes() == b"before"  # The local copy is as good as ever.
    server.socket.unlink()
    server.process = subprocess.Popen(
        [*server.process.args, "--appendonly", "yes"],  # type: ignore[misc]  # a list, as it was given
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            server.client().ping()
            break
        except redis.ConnectionError:
            time.sleep(0.01)
    assert other.path(*body).read_bytes() == b"before"
    assert store.observations("p", "a" * 64) == (note,)


def test_a_redis_killed_in_the_middle_of_a_body_leaves_nothing_half_written(server: Server, tmp_path: Path) -> None:
    local = FileStore(tmp_path / "one")
    store = LayeredStore(local, RedisBodies(server.client(), "here", chunk=CHUNK))
    body = put(store, os.urandom(50 * CHUNK))
    other = LayeredStore(FileStore(tmp_path / "two"), RedisBodies(server.client(), "here", chunk=CHUNK))
    writer = other._local.writer()
    real = writer.write

    def kill_first(chunk: bytes | memoryview) -> None:
        real(chunk)
        server.kill()

    writer.write = kill_first  # type: ignore[method-assign]  # the moment is the point
    with pytest.raises(StoreGoneError):
        other._remote.copy(body.sha256, writer)
    assert list(other._local.bodies()) == []
    assert list((other._local.root / "tmp").iterdir()) == []


def test_a_redis_without_room_is_told(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
    store = open_store(server.url, environ={"XDG_CACHE_HOME": str(tmp_path / "one")})
    body = put(store, b"small")
    with pytest.raises(StoreFullError, match="full") as caught:
        put(store, os.urandom(12 << 20))
    assert "hermit store gc" in str(caught.value.hint)
    assert [found.sha256 for found in store._remote.bodies()] == [body.sha256]  # type: ignore[attr-defined]  # its layer


def test_a_password_comes_from_a_file_and_is_never_shown(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve("--requirepass", "open sesame/?@")
    environ = {"XDG_CACHE_HOME": str(tmp_path / "one")}
    secret = tmp_path / "secret"
    secret.write_text("open sesame/?@\n")
    store = open_store(f"{server.url}?password_file={secret}", environ=environ)
    assert put(store, b"x").size == 1
    assert "sesame" not in f"{store.where}{store.stats()}"
    secret.write_text("something else")
    for url in (server.url, f"{server.url}?password_file={secret}"):
        with pytest.raises(StoreError, match="password") as caught:
            open_store(url, environ=environ)
        assert "something else" not in str(caught.value)


def test_observers_on_several_machines_stay_side_by_side(machine: Callable[[str], LayeredStore]) -> None:
    one, two = machine("one"), machine("two")
    for store, observer in ((one, "one"), (two, "two"), (one, "one")):
        store.observe("a/b", Observation("a" * 64, None, observer, "r", 1.0))
    assert {o.observer for o in two.observations("a/b", "a" * 64)} == {"one", "two"}
    assert two.observations("a", "a" * 64) == ()
    assert two.pools() == ("a/b",)
    assert two.stats().pools == {"a/b": 1}
    assert not two.delete_observations("a/b", "a" * 64, older_than=3600)
    assert two.delete_observations("a/b", "a" * 64)
    assert one.observations("a/b", "a" * 64) == ()
    assert one.pools() == ()


def test_a_damaged_observation_in_redis_vouches_for_nothing(
    machine: Callable[[str], LayeredStore], server: Server
) -> None:
    store = machine("one")
    store.observe("p", Observation("a" * 64, None, "one", "r", 1.0))
    (key,) = keys(server, "hermit:pool:*:entry:*")
    server.client().hset(key, "one", b"\xff{")
    assert store.observations("p", "a" * 64) == ()


def test_observing_gives_the_shared_store_a_body_that_only_this_machine_has(
    machine: Callable[[str], LayeredStore],
) -> None:
    store = machine("one")
    body = put(store._local, b"only here")
    store.observe("p", Observation("a" * 64, body.sha256, "one", "r", 1.0))
    assert machine("two").read(body.sha256) == b"only here"


def test_garbage_goes_from_redis_and_the_local_copies_and_the_rest_stays(
    machine: Callable[[str], LayeredStore], server: Server, tmp_path: Path
) -> None:
    repo = tmp_path / "repo"
    (repo / NETWORK).mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main")
    store = machine("one")
    kept, forgotten, young = (put(store, data * 2000) for data in (b"k", b"f", b"y"))
    for body in (kept, forgotten):
        age(server, body)
        os.utime(store.path(*body), (1, 1))
    entry = Entry("GET", f"https://{HOST}/x", 200, sha256=kept.sha256, size=kept.size)
    (repo / NETWORK / f"{HOST}.yaml").write_bytes(file_format.dump([entry]))
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")
    for entry_id in (entry.id, "f" * 64):
        store.observe("p", Observation(entry_id, None, "one", "r", 1.0))
    server.client().hset("hermit:pool:{p}:index", "f" * 64, 1)
    repositories = {"p": [PoolRepository(repo)]}
    assert gc(store, repositories, grace=DAY, dry_run=True).deleted == 1
    report = gc(store, repositories, grace=DAY)
    assert (report.deleted, report.bytes, report.observations, report.kept, report.young) == (1, 2000, 1, 1, 1)
    assert {body.sha256 for body in store._local.bodies()} == {kept.sha256, young.sha256}
    assert {body.sha256 for body in store._remote.bodies()} == {kept.sha256, young.sha256}
    assert len(keys(server, "hermit:chunk:*")) == 4
    assert [found.entry_id for found in store.observed("p")] == [entry.id]


def test_a_body_that_was_just_stored_again_survives_a_deleter_at_the_same_moment(
    machine: Callable[[str], LayeredStore], server: Server
) -> None:
    data = os.urandom(3 * CHUNK)
    sha256 = hashlib.sha256(data).hexdigest()
    writer, deleter, reader = machine("one"), machine("two"), machine("three")
    ended, deleted = threading.Event(), []

    def delete() -> None:
        while not ended.is_set():
            deleted.append(deleter._remote.delete(sha256, older_than=DAY))

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(200):
            body = put(writer, data)
            reader._local.delete(sha256)
            assert reader.path(*body).read_bytes() == data
            if writer._remote.has(sha256):
                server.client().hset(f"hermit:body:{{{sha256}}}", "time", 1)
    finally:
        ended.set()
        thread.join(30)
    assert any(deleted)

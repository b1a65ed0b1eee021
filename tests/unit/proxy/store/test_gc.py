"""Garbage goes, and nothing that is named, young, in use or merely unknown goes with it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from hermit_proxy.snapshot import format as file_format
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.store import gc as gc_module
from hermit_proxy.store.body import Body
from hermit_proxy.store.files import FileStore
from hermit_proxy.store.gc import GcReport, PoolUnknownError, gc
from hermit_proxy.store.named import Named, PoolRepository, SnapshotUnreadableError
from hermit_proxy.store.observation import Observation
from tests.support.repository import HOST, NETWORK, git

DAY = 24 * 3600.0


def put(store: FileStore, data: bytes, *, old: bool = True) -> Body:
    with store.writer() as writer:
        writer.write(data)
        body = writer.commit()
    if old:
        os.utime(store.root / "bodies" / body.sha256[:2] / body.sha256, (1, 1))
    return body


def entry(body: Body) -> Entry:
    return Entry("GET", f"https://{HOST}/{body.sha256}", 200, sha256=body.sha256, size=body.size)


def record(repo: Path, *bodies: Body) -> None:
    (repo / NETWORK).mkdir(parents=True, exist_ok=True)
    (repo / NETWORK / f"{HOST}.yaml").write_bytes(file_format.dump([entry(body) for body in bodies]))
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")


def see(store: FileStore, pool: str, body: Body, *, old: bool = True) -> None:
    store.observe(pool, Observation(entry(body).id, body.sha256, "one", "run", 1.0))
    if old:
        for path in (store.root / "pools").rglob(f"{entry(body).id}.json"):
            os.utime(path, (1, 1))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    return path


def test_named_and_young_bodies_stay_and_the_rest_goes(store: FileStore, repo: Path) -> None:
    main, branch, tag, forgotten = (put(store, name) for name in (b"main", b"branch", b"tag", b"forgotten"))
    young = put(store, b"young", old=False)
    for body in (main, forgotten):
        see(store, "p", body)
    see(store, "p", young, old=False)
    record(repo, forgotten)
    record(repo, main)
    git(repo, "checkout", "-q", "-b", "branch")
    record(repo, branch)
    git(repo, "checkout", "-q", "--detach")
    record(repo, tag)
    git(repo, "tag", "v1")
    git(repo, "checkout", "-q", "main")
    repositories = {"p": [PoolRepository(repo)]}

    wanted = GcReport(1, forgotten.size, 1, 0, 3, 1, frozenset(), dry_run=True)
    assert gc(store, repositories, grace=DAY, dry_run=True) == wanted
    assert store.has(forgotten.sha256)
    done = gc(store, repositories, grace=DAY)
    assert (done.deleted, done.bytes, done.observations, done.kept, done.young) == (1, forgotten.size, 1, 3, 1)
    assert {body.sha256 for body in store.bodies()} == {body.sha256 for body in (main, branch, tag, young)}
    assert {found.entry_id for found in store.observed("p")} == {entry(main).id, entry(young).id}
    assert gc(store, repositories, grace=DAY).deleted == 0


def test_a_body_that_one_pool_forgot_stays_while_another_names_it(store: FileStore, repo: Path) -> None:
    body = put(store, b"shared")
    see(store, "named", body)
    see(store, "given up", body)
    record(repo, body)
    report = gc(store, {"named": [PoolRepository(repo)], "given up": []}, grace=DAY)
    assert (report.deleted, report.observations) == (0, 1)
    assert store.pools() == ("named",)


def test_a_pool_that_the_caller_does_not_know_stops_everything(store: FileStore, repo: Path) -> None:
    body = put(store, b"x")
    see(store, "another's", body)
    with pytest.raises(PoolUnknownError, match="another's"):
        gc(store, {"p": [PoolRepository(repo)]}, grace=DAY)
    assert store.has(body.sha256)


def test_a_snapshot_that_cannot_be_read_stops_everything(store: FileStore, repo: Path) -> None:
    body = put(store, b"x")
    record(repo, body)
    git(repo, "checkout", "-q", "-b", "broken")
    (repo / NETWORK / f"{HOST}.yaml").write_text("<<<<<<< ours\n")
    git(repo, "commit", "-qam", "x")
    git(repo, "checkout", "-q", "main")
    forgotten = put(store, b"y")
    with pytest.raises(SnapshotUnreadableError):
        gc(store, {"p": [PoolRepository(repo)]}, grace=DAY)
    assert store.has(body.sha256)
    assert store.has(forgotten.sha256)


def test_named_bodies_that_the_store_lacks_are_told(store: FileStore, repo: Path) -> None:
    missing = Body("a" * 64, 1)
    record(repo, missing)
    assert gc(store, {"p": [PoolRepository(repo)]}).missing == {missing.sha256}


def test_a_push_between_listing_and_deleting_is_heeded(
    store: FileStore, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = put(store, b"old, and about to be named again")
    real, calls = gc_module._named, []

    def push_before_the_second(*arguments: object) -> dict[str, Named]:
        calls.append(arguments)
        if len(calls) == 2:
            record(repo, body)
        return real(*arguments)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(gc_module, "_named", push_before_the_second)
    assert gc(store, {"p": [PoolRepository(repo)]}, grace=DAY).deleted == 0
    assert store.has(body.sha256)


def _collect(root: Path, repositories: Mapping[str, Sequence[PoolRepository]], results: object) -> None:
    results.put(gc(FileStore(root), repositories, grace=DAY).deleted)  # type: ignore[attr-defined]  # a queue


def test_two_collections_at_once_delete_each_body_once(store: FileStore, repo: Path) -> None:
    kept = [put(store, b"kept %d" % number) for number in range(50)]
    for number in range(400):
        put(store, b"garbage %d" % number)
    record(repo, *kept)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (store.root, {"p": [PoolRepository(repo)]}, results)
    collectors = [context.Process(target=_collect, args=arguments) for _ in range(2)]
    for collector in collectors:
        collector.start()
    total = results.get(timeout=120) + results.get(timeout=120)
    for collector in collectors:
        collector.join(60)
    assert [collector.exitcode for collector in collectors] == [0, 0]
    assert total == 400
    assert {body.sha256 for body in store.bodies()} == {body.sha256 for body in kept}


def test_bodies_that_writers_commit_again_during_collections_do_not_vanish(store: FileStore, repo: Path) -> None:
    """Old, unnamed bodies are committed again while collectors run: each is there when its commit has returned."""
    contents = [b"body %d" % number for number in range(100)]
    for data in contents:
        put(store, data)
    ended, deleted = threading.Event(), []

    def collect() -> None:
        while not ended.is_set():
            deleted.append(gc(store, {"p": [PoolRepository(repo)]}, grace=DAY).deleted)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for round_ in range(5):
            for data in contents:
                assert put(store, data, old=False).sha256 == hashlib.sha256(data).hexdigest()
            for data in contents:
                assert store.read(hashlib.sha256(data).hexdigest()) == data, round_
                os.utime(store.path(hashlib.sha256(data).hexdigest()), (1, 1))
    finally:
        ended.set()
        collector.join(60)
    assert deleted


def test_rests_of_killed_writers_are_swept(store: FileStore, repo: Path) -> None:
    (store.root / "tmp" / "left").write_bytes(b"half")
    assert gc(store, {"p": [PoolRepository(repo)]}, dry_run=True).swept == 1
    assert gc(store, {"p": [PoolRepository(repo)]}).swept == 1
    assert store.stats().unfinished == 0

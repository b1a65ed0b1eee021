"""A body is served whole and verified or not at all, whoever writes, deletes or damages files meanwhile."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hermit_proxy.store import verdicts
from hermit_proxy.store.body import (
    Body,
    BodyCorruptError,
    BodyMissingError,
    StoreError,
)
from hermit_proxy.store.files import FileStore
from hermit_proxy.store.observation import Observation
from tests.support.pagecache import needs_nowait

LARGE = 3 << 20
SIZES = [0, 1, 65536, (1 << 20) - 1, 1 << 20, LARGE + 7]


def content(size: int, seed: int = 0) -> bytes:
    return (hashlib.sha256(b"%d" % seed).digest() * (size // 32 + 1))[:size]


def put(store: FileStore, data: bytes) -> Body:
    with store.writer() as writer:
        for start in range(0, len(data), 100_000):
            writer.write(data[start : start + 100_000])
        return writer.commit()


def tear(path: Path, data: bytes) -> None:
    """Write into a body's file as a fault would, past its permissions."""
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    store = FileStore(tmp_path / "store")
    yield store
    with suppress(StoreError):  # some of the tests put what is no folder in the place of one
        store.close()


@pytest.mark.parametrize("size", SIZES)
def test_a_body_comes_back_as_it_went_in(store: FileStore, size: int) -> None:
    data = content(size)
    body = put(store, data)
    assert body == (hashlib.sha256(data).hexdigest(), size)
    assert store.path(*body).read_bytes() == data
    assert store.read(body.sha256) == data
    with store.open_body(*body) as file:
        assert file.read() == data
    assert store.has(body.sha256)
    assert [found[:2] for found in store.bodies()] == [body]


@pytest.mark.parametrize("size", [0, 1, 65536])
def test_a_small_body_that_was_just_written_need_not_be_waited_for(store: FileStore, tmp_path: Path, size: int) -> None:
    needs_nowait(tmp_path)
    data = content(size)
    body = put(store, data)
    assert store.read_at_once(*body) == data
    assert store.read_at_once(body.sha256, size + 1) is None


@pytest.mark.parametrize("fault", ["flipped", "missing", "linked folder"])
def test_what_is_wrong_with_a_body_is_not_served_at_once_but_told_by_who_may_wait(
    store: FileStore, tmp_path: Path, fault: str
) -> None:
    body = put(store, content(1000))
    place = store.path(body.sha256)
    if fault == "flipped":
        tear(place, content(1000, seed=1))
    elif fault == "missing":
        place.unlink()
    else:
        place.parent.rename(tmp_path / "elsewhere")
        place.parent.symlink_to(tmp_path / "elsewhere")
    assert store.read_at_once(*body) is None
    with pytest.raises(StoreError):
        store.open_body(*body)


@pytest.mark.parametrize("wrong", [False, True])
def test_what_was_hashed_ahead_is_not_hashed_again_and_a_wrong_body_is_told_to_whoever_opens_it(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, *, wrong: bool
) -> None:
    data = content(LARGE)
    body = put(store, data)
    place = store.root / "bodies" / body.sha256[:2] / body.sha256
    if wrong:
        tear(place, data[:-1] + bytes([data[-1] ^ 1]))
    later = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    store.hash_ahead(*body)
    assert place.exists()
    monkeypatch.setattr(verdicts, "digest_of", lambda _fd: pytest.fail("hashed again"))
    if wrong:
        with pytest.raises(BodyCorruptError, match=body.sha256):
            store.open_body(*body)
    else:
        store.open_body(*body).close()


@pytest.mark.parametrize(
    "made", [lambda _place: None, os.mkdir, os.mkfifo, lambda place: place.symlink_to("/dev/zero")]
)
def test_what_is_no_body_is_passed_over_when_it_is_hashed_ahead(
    store: FileStore, made: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store.root / "bodies" / "aa" / ("a" * 64)
    place.parent.mkdir()
    made(place)
    before = os.path.lexists(place)
    monkeypatch.setattr(verdicts, "digest_of", lambda _fd: pytest.fail("hashed"))
    store.hash_ahead("a" * 64, 1)
    assert os.path.lexists(place) == before


def test_a_body_of_another_size_than_was_promised_is_not_read_ahead(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = put(store, content(LARGE))
    monkeypatch.setattr(verdicts, "digest_of", lambda _fd: pytest.fail("hashed"))
    store.hash_ahead(body.sha256, body.size - 1)


def test_folders_and_files_are_the_users_own(store: FileStore) -> None:
    body = put(store, b"x")
    store.observe("pool", Observation("a" * 64, None, "o", "r", 0.0))
    for path in (store.root, *store.root.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o400 if path.name == body.sha256 else 0o600), path


def test_a_missing_body_is_named(store: FileStore) -> None:
    for ask in (store.path, store.read, store.open_body, store.check):
        with pytest.raises(BodyMissingError, match="a" * 64):
            ask("a" * 64)
    assert not store.has("a" * 64)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", "A" * 64, "a" * 63 + "/"])
def test_a_name_that_is_no_digest_leads_nowhere(store: FileStore, name: str) -> None:
    for ask in (store.path, store.has, store.read, store.delete):
        with pytest.raises(ValueError, match="SHA-256"):
            ask(name)


@pytest.mark.parametrize("ask", ["path", "read", "open_body", "check"])
@pytest.mark.parametrize("size", [5, LARGE])
def test_one_flipped_bit_is_named_put_aside_and_mended_by_writing_again(store: FileStore, size: int, ask: str) -> None:
    data = content(size)
    body = put(store, data)
    place = store.path(*body)
    tear(place, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BodyCorruptError, match=body.sha256) as caught:
        getattr(store, ask)(body.sha256)
    assert caught.value.where == str(place)
    assert not store.has(body.sha256)
    assert store.stats().quarantined == 1
    with pytest.raises(BodyMissingError):
        store.path(*body)
    put(store, data)
    assert store.path(*body).read_bytes() == data


@pytest.mark.parametrize("size", [5, LARGE])
def test_writing_a_body_again_mends_a_corrupt_one_that_nobody_has_read(store: FileStore, size: int) -> None:
    data = content(size)
    body = put(store, data)
    tear(store.path(*body), content(size, 1))
    put(store, data)
    assert store.path(*body).read_bytes() == data


def test_a_body_swapped_by_another_good_body_is_not_served(store: FileStore) -> None:
    one, two = put(store, content(1000, 1)), put(store, content(1000, 2))
    paths = store.path(*one), store.path(*two)
    os.replace(paths[1], paths[0])
    with pytest.raises(BodyCorruptError, match=two.sha256):
        store.path(*one)


@pytest.mark.parametrize("plant", ["link", "link to a good copy", "folder", "pipe", "empty"])
def test_what_is_planted_in_place_of_a_body_is_put_aside_and_not_followed(
    store: FileStore, tmp_path: Path, plant: str
) -> None:
    body = put(store, b"data")
    place = store.path(*body)
    place.unlink()
    good = tmp_path / "good"
    good.write_bytes(b"data" if plant == "link to a good copy" else b"secret")
    if plant.startswith("link"):
        place.symlink_to(good)
    elif plant == "folder":
        place.mkdir()
        (place / "inside").write_bytes(b"x")
    elif plant == "pipe":
        os.mkfifo(place)
    else:
        place.write_bytes(b"")
    with pytest.raises(BodyCorruptError, match=body.sha256):
        store.path(*body)
    assert not os.path.lexists(place)
    put(store, b"data")
    assert store.path(*body).read_bytes() == b"data"
    store.sweep()
    assert good.exists()
    assert store.stats().quarantined == 0


@pytest.mark.parametrize("plant", ["link", "folder"])
def test_a_writer_replaces_what_is_planted_and_does_not_write_through_it(
    store: FileStore, tmp_path: Path, plant: str
) -> None:
    body = put(store, b"data")
    place = store.path(*body)
    place.unlink()
    if plant == "link":
        (tmp_path / "target").write_bytes(b"precious")
        place.symlink_to(tmp_path / "target")
    else:
        place.mkdir()
    put(store, b"data")
    assert store.path(*body).read_bytes() == b"data"
    if plant == "link":
        assert (tmp_path / "target").read_bytes() == b"precious"


def test_a_link_in_place_of_a_folder_of_bodies_is_refused(store: FileStore, tmp_path: Path) -> None:
    body = put(store, b"data")
    shard = store.path(*body).parent
    shard.rename(tmp_path / "moved")
    shard.symlink_to(tmp_path / "moved")
    with pytest.raises(StoreError, match="symbolic link"):
        store.path(*body)
    with pytest.raises(StoreError, match="symbolic link"):
        put(store, b"data")
    assert list((store.root / "tmp").iterdir()) == []


def test_a_good_body_of_another_size_than_announced_is_an_error_but_not_put_aside(store: FileStore) -> None:
    body = put(store, b"data")
    with pytest.raises(StoreError, match="4 bytes, not the 5"):
        store.path(body.sha256, 5)
    assert store.path(*body).read_bytes() == b"data"


def test_a_body_that_was_mended_meanwhile_is_not_put_aside(store: FileStore) -> None:
    body = put(store, b"data")
    place = store.path(*body)
    bad = place.stat()
    shutil.copy(place, place.with_name("new"))
    os.replace(place.with_name("new"), place)
    store._put_aside(body.sha256, bad, "seen before the mending")
    assert store.path(*body).read_bytes() == b"data"


def test_committing_again_renews_the_time_and_keeps_the_file(store: FileStore) -> None:
    body = put(store, b"data")
    place = store.path(*body)
    os.utime(place, (1, 1))
    before = place.stat().st_ino
    put(store, b"data")
    assert place.stat().st_ino == before
    assert place.stat().st_mtime > 1
    assert list((store.root / "tmp").iterdir()) == []


def test_deleting_spares_what_was_committed_lately(store: FileStore) -> None:
    body = put(store, b"data")
    assert not store.delete(body.sha256, older_than=3600)
    os.utime(store.path(*body), (1, 1))
    assert store.delete(body.sha256, older_than=3600)
    assert not store.delete(body.sha256)
    assert not store.has(body.sha256)


def test_a_clock_that_was_set_back_makes_nothing_old(store: FileStore) -> None:
    body = put(store, b"data")
    ahead = time.time() + 10**6
    os.utime(store.path(*body), (ahead, ahead))
    assert not store.delete(body.sha256, older_than=0)


def test_foreign_files_among_the_bodies_are_not_bodies(store: FileStore) -> None:
    body = put(store, b"data")
    (store.path(*body).parent / "README").write_text("x")
    assert [found.sha256 for found in store.bodies()] == [body.sha256]


def test_observations_of_several_observers_stay_side_by_side(store: FileStore) -> None:
    for observer in ("one", "two", "one"):
        store.observe("a/b", Observation("a" * 64, "c" * 64, observer, "r", 1.0))
    assert {o.observer for o in store.observations("a/b", "a" * 64)} == {"one", "two"}
    assert store.observations("a/b", "b" * 64) == ()
    assert store.observations("never seen", "a" * 64) == ()
    assert store.pools() == ("a/b",)
    assert [found.entry_id for found in store.observed("a/b")] == ["a" * 64]
    assert store.stats().pools == {"a/b": 1}
    assert not store.delete_observations("a/b", "a" * 64, older_than=3600)
    assert store.delete_observations("a/b", "a" * 64)
    assert not store.delete_observations("a/b", "a" * 64)
    assert store.pools() == ()


def test_observations_that_cannot_be_read_are_not_written_over(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = (Observation("e" * 64, None, name, "run", 1.0) for name in ("mine", "theirs"))
    store.observe("pool", theirs)

    def no_more_files(*_args: object, **_kwargs: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("hermit_proxy.store.file_pools.os.open", no_more_files)
        with pytest.raises((StoreError, OSError)):
            store.observe("pool", mine)
    assert store.observations("pool", "e" * 64) == (theirs,)


def test_observers_who_write_at_the_same_moment_do_not_overwrite_each_other(store: FileStore) -> None:
    names = [f"observer-{number}" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.observe("p", Observation("a" * 64, None, name, "r", 1.0)), names))
    assert {o.observer for o in store.observations("p", "a" * 64)} == set(names)


@pytest.mark.parametrize("fault", ["garbage", "empty", "link", "other entry"])
def test_a_damaged_or_planted_observation_vouches_for_nothing(store: FileStore, tmp_path: Path, fault: str) -> None:
    good = Observation("a" * 64, "c" * 64, "one", "r", 1.0)
    store.observe("p", good)
    (place,) = (store.root / "pools").rglob("*.json")
    line = place.read_bytes()
    place.unlink()
    if fault == "link":
        (tmp_path / "line").write_bytes(line)
        place.symlink_to(tmp_path / "line")
    else:
        place.write_bytes({"garbage": b"\xff{", "empty": b"", "other entry": line.replace(b"a" * 64, b"b" * 64)}[fault])
    assert store.observations("p", "a" * 64) == ()
    store.observe("p", good)
    assert store.observations("p", "a" * 64) == (good,)


def test_a_store_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s").chmod(0o777)
    with pytest.raises(StoreError, match="other users may write") as caught:
        FileStore(tmp_path / "s")
    assert caught.value.hint == f"chmod go-w {tmp_path / 's'}"


def test_a_store_in_place_of_which_there_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"")
    with pytest.raises(StoreError, match="File exists"):
        FileStore(tmp_path / "s")


def _write_many(root: Path, seed: int) -> None:
    store = FileStore(root)
    for number in range(30):
        put(store, content(200, number))
        put(store, content(LARGE // 2, number % 3))
        put(store, content(500, 1000 * seed + number))
        store.observe("p", Observation("a" * 64, None, f"observer-{seed}", "r", float(number)))
    store.close()


def test_eight_processes_that_write_the_same_and_different_bodies_lose_none(store: FileStore) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(store.root, seed)) for seed in range(1, 9)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0] * 8
    bodies = list(store.bodies())
    assert len(bodies) == 30 + 3 + 8 * 30
    for body in bodies:
        store.check(body.sha256)
    assert {o.observer for o in store.observations("p", "a" * 64)} == {f"observer-{seed}" for seed in range(1, 9)}
    assert list((store.root / "tmp").iterdir()) == []


def test_a_body_that_was_just_committed_again_survives_a_deleter_at_the_same_moment(store: FileStore) -> None:
    data = content(100)
    body = put(store, data)
    ended = threading.Event()

    def delete() -> None:
        while not ended.is_set():
            store.delete(body.sha256, older_than=3600)

    deleters = [threading.Thread(target=delete) for _ in range(2)]
    for deleter in deleters:
        deleter.start()
    try:
        for _ in range(300):
            with suppress(FileNotFoundError):
                os.utime(store.root / "bodies" / body.sha256[:2] / body.sha256, (1, 1))
            put(store, data)
            # From here on it is young, and no deleter may take it.
            assert store.path(*body).read_bytes() == data
    finally:
        ended.set()
        for deleter in deleters:
            deleter.join(30)

"""Nothing half-written is ever seen: not after a failure, not after a kill, not on a full disk."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from hermit_proxy.store.body import DigestMismatchError, StoreError, StoreFullError
from hermit_proxy.store.file_writer import GATHER
from hermit_proxy.store.files import FileStore

KILLED = """
import sys, time
from pathlib import Path
from hermit_proxy.store.files import FileStore
writer = FileStore(Path(sys.argv[1])).writer()
for _ in range(64):
    writer.write(bytes(65536))
writer._wait(0)
print("written", flush=True)
time.sleep(600)
"""
FULL = """
import sys
from pathlib import Path
from hermit_proxy.store.body import StoreFullError
from hermit_proxy.store.files import FileStore
store = FileStore(Path(sys.argv[1]))
with store.writer() as writer:
    writer.write(b"small")
    small = writer.commit()
for size in (64, 8, 64):
    try:
        with store.writer() as writer:
            for number in range(size):
                writer.write(bytes([number]) * 65536)
            writer.commit()
        print("fits")
    except StoreFullError as error:
        print("full", error.hint)
assert list((store.root / "tmp").iterdir()) == []
assert store.path(*small).read_bytes() == b"small"
for body in store.bodies():
    store.check(body.sha256)
"""


def files(root: Path) -> list[str]:
    return [p.name for p in root.rglob("*") if p.is_file() and p.name != "lock"]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.mark.parametrize("size", [10, 3 * GATHER])
def test_a_body_that_is_not_committed_leaves_nothing(store: FileStore, size: int) -> None:
    with suppress(KeyError), store.writer() as writer:
        writer.write(bytes(size))
        raise KeyError
    with store.writer() as writer:
        writer.write(bytes(size))
    assert files(store.root) == []


@pytest.mark.parametrize("size", [10, 3 * GATHER])
def test_a_body_with_another_digest_than_expected_is_not_kept(store: FileStore, size: int) -> None:
    with store.writer() as writer:
        writer.write(bytes(size))
        with pytest.raises(DigestMismatchError) as caught:
            writer.commit("a" * 64)
    assert caught.value.sha256 == hashlib.sha256(bytes(size)).hexdigest()
    assert caught.value.size == size
    assert files(store.root) == []


def test_an_expected_digest_that_is_met_is_committed(store: FileStore) -> None:
    with store.writer() as writer:
        writer.write(memoryview(b"data"))
        assert writer.commit(hashlib.sha256(b"data").hexdigest()).size == 4


def test_a_finished_writer_takes_nothing_more(store: FileStore) -> None:
    writer = store.writer()
    body = writer.commit()
    for again in (lambda: writer.write(b"x"), writer.commit):
        with pytest.raises(StoreError, match="finished"):
            again()
    writer.abort()
    assert store.read(body.sha256) == b""


def test_a_chunk_that_its_owner_reuses_is_kept_as_it_was(store: FileStore) -> None:
    buffer = bytearray(b"first")
    with store.writer() as writer:
        writer.write(memoryview(buffer))
        buffer[:] = b"other"
        body = writer.commit()
    assert store.read(body.sha256) == b"first"


def test_memory_stays_bounded_however_large_the_body(store: FileStore) -> None:
    chunk = bytes(65536)
    tracemalloc.start()
    try:
        with store.writer() as writer:
            for _ in range(1024):
                writer.write(chunk)
            assert writer.commit().size == 1024 * 65536
        assert tracemalloc.get_traced_memory()[1] < 10 * GATHER
    finally:
        tracemalloc.stop()


def test_a_writer_killed_in_mid_write_leaves_no_body_and_its_rest_is_swept(store: FileStore) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(store.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert store.sweep() == 0  # It is alive.
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert list(store.bodies()) == []
    assert store.stats().unfinished == 1
    assert store.sweep(dry_run=True) == 1
    assert store.sweep() == 1
    assert files(store.root) == []


def _expect_full(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["full", "fits", "full"], done.stdout
    assert "hermit store gc" in lines[0]


def test_a_file_size_limit_is_no_room_and_leaves_nothing_half_written(store: FileStore) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(store.root)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20)),
        capture_output=True,
        text=True,
        check=False,
    )
    _expect_full(done)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting a small disk takes root")
def test_a_full_disk_is_no_room_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=2m,mode=0700 none "$1" && exec "$2" -c "$3" "$1/store"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(small), sys.executable, FULL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "mount" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    _expect_full(done)


def test_no_room_is_told_at_the_latest_by_the_commit_of_a_small_body(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with store.writer() as writer:
        writer.write(b"data")
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreFullError):
            writer.commit()
    monkeypatch.undo()
    assert files(store.root) == []

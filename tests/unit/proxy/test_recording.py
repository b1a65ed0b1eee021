"""Writes snapshots from logs with a real store."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError
from hermit_proxy.recording import write_snapshot
from hermit_proxy.run.events import Outcome, RequestEvent, RequestLog
from hermit_proxy.snapshot.entry import Entry
from hermit_proxy.snapshot.model import Snapshot
from hermit_proxy.snapshot.tree import read_tree, write_tree
from hermit_proxy.snapshot.written import Recorded
from hermit_proxy.store.observation import Observation
from hermit_proxy.store.open import open_store

URL = "https://git.example.org/p.git/git-upload-pack"
PACK = b"PACK of eight and more bytes"


def packets(*sizes: int) -> bytes:
    """Give one pack in side-band packets of these sizes, and the rest in a last one."""
    result, rest = b"", PACK
    for size in (*sizes, len(PACK)):
        piece, rest = rest[:size], rest[size:]
        result += f"{len(piece) + 5:04x}".encode() + b"\x01" + piece if piece else b""
    return result + b"0000"


def entry(store_url: Path, body: bytes) -> Entry:
    store = open_store(str(store_url), environ=os.environ)
    with store.writer() as writer:
        writer.write(body)
        sha256, size = writer.commit()
    headers = (("content-type", "application/x-git-upload-pack-result"),)
    found = Entry("POST", URL, 200, body="0" * 64, sha256=sha256, size=size, headers=headers)
    store.observe("pool", Observation(found.id, sha256, "o" * 32, "run", 1.0))
    store.close()
    return found


def record(tmp_path: Path, old: Snapshot, entry: Entry, *, timed: bool = True) -> Recorded:
    log = RequestLog(tmp_path / "log")
    log.write(RequestEvent(1.0, "POST", URL, Outcome.RECORDED, 200, entry=entry, entry_id=entry.id))
    log.close()
    return write_snapshot(
        tmp_path / ".hermit" / "network",
        old,
        tmp_path / "log",
        store_url=str(tmp_path / "store"),
        pool="pool",
        keep_unused=False,
        environ=os.environ,
        timed=timed,
    )


@pytest.mark.parametrize(("body", "changed"), [(packets(8, 3), False), (packets(5).replace(b"eight", b"seven"), True)])
def test_the_same_pack_in_other_packets_is_no_change(tmp_path: Path, body: bytes, changed: bool) -> None:
    network = tmp_path / ".hermit" / "network"
    network.parent.mkdir()
    known = entry(tmp_path / "store", packets(4))
    write_tree(network, Snapshot([known]))
    done = record(tmp_path, read_tree(network), entry(tmp_path / "store", body))
    assert done.changed is changed
    assert (list(read_tree(network)) == [known]) is not changed


def test_a_first_recording_is_told_as_new(tmp_path: Path) -> None:
    (tmp_path / ".hermit").mkdir()
    done = record(tmp_path, Snapshot(), entry(tmp_path / "store", packets()))
    assert (done.changed, done.conflicts, done.pruned) == (True, (), 0)
    assert done.difference["new_hosts"] == ["git.example.org"]
    assert "git.example.org" in done.text
    assert (tmp_path / ".hermit" / "recorded").exists()


def write(tmp_path: Path, old: Snapshot, *, asked: bool = False) -> Recorded:
    (tmp_path / "empty-log").touch()
    return write_snapshot(
        tmp_path / ".hermit/network",
        old,
        tmp_path / "empty-log",
        store_url=str(tmp_path / "store"),
        pool="pool",
        keep_unused=False,
        environ=os.environ,
        asked=asked,
    )


def test_what_asked_and_may_keep_nothing_leaves_the_snapshot(tmp_path: Path) -> None:
    network = tmp_path / ".hermit/network"
    network.parent.mkdir()
    assert not write(tmp_path, Snapshot(), asked=True).changed
    assert not (tmp_path / ".hermit/recorded").exists()
    write_tree(network, Snapshot([entry(tmp_path / "store", packets())]))
    old = read_tree(network)
    done = write(tmp_path, old, asked=True)
    assert (done.changed, done.pruned) == (False, 0)
    assert list(read_tree(network)) == list(old)


def test_a_recording_of_nothing_is_its_time_and_written_once(tmp_path: Path) -> None:
    assert write(tmp_path, Snapshot()).changed
    assert [path.name for path in (tmp_path / ".hermit").iterdir()] == ["recorded"]
    (tmp_path / ".hermit/recorded").write_text("2024-05-01T12:00:00Z\n")
    assert not write(tmp_path, Snapshot()).changed
    assert (tmp_path / ".hermit/recorded").read_text() == "2024-05-01T12:00:00Z\n"


def test_what_once_asked_and_asks_for_nothing_now_loses_its_entries(tmp_path: Path) -> None:
    network = tmp_path / ".hermit/network"
    network.parent.mkdir()
    write_tree(network, Snapshot([entry(tmp_path / "store", packets())]))
    done = write(tmp_path, read_tree(network))
    assert (done.changed, done.pruned) == (True, 1)
    assert len(read_tree(network)) == 0
    assert (tmp_path / ".hermit/recorded").exists()


def test_a_snapshot_that_the_disk_refuses_is_told_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **_options: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hermit_proxy.recording.write_tree", full)
    with pytest.raises(HermitError, match=r"cannot write .*/\.hermit/network: No space left on device"):
        write(tmp_path, Snapshot())


def test_the_time_beside_the_folder_stays_where_it_is_another_snapshots(tmp_path: Path) -> None:
    record(tmp_path, Snapshot(), entry(tmp_path / "store", packets()), timed=False)
    assert not (tmp_path / ".hermit" / "recorded").exists()

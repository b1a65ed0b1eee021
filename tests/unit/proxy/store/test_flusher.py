"""Waiting ends when everything is durable, and tells when it is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hermit_proxy.store.flusher import Flusher


def test_files_and_their_folders_are_synced_before_waiting_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.add(os.readlink(f"/proc/self/fd/{fd}")))
    paths = [tmp_path / f"{n}" / "body" for n in range(20)]
    flusher = Flusher()
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"x")
        flusher.add(path)
    flusher.wait()
    # A store of another test may have its own to sync in a thread of its own.
    ours = {path for path in synced if path.startswith(str(tmp_path))}
    assert ours == {str(p) for path in paths for p in (path, path.parent, tmp_path)}


def test_a_disk_that_fails_is_told_by_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "body").write_bytes(b"x")
    flusher = Flusher()
    monkeypatch.setattr(os, "fsync", fail)
    flusher.add(tmp_path / "body")
    with pytest.raises(OSError, match="Input/output"):
        flusher.wait()
    monkeypatch.undo()
    flusher.close()


def test_a_file_that_was_deleted_since_needs_no_sync(tmp_path: Path) -> None:
    flusher = Flusher()
    flusher.add(tmp_path / "gone")
    flusher.close()
    flusher.close()

"""Tests that a file is given where nobody has to wait for it, and that everything else is left to who may wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hermit_proxy.store.file_pagecache import read_cached
from tests.support.pagecache import needs_nowait

BODY = os.urandom(50_000)
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@pytest.fixture(autouse=True)
def says_what_is_in_memory(tmp_path: Path) -> None:
    needs_nowait(tmp_path)


@pytest.mark.parametrize("body", [BODY, b"", b"x"])
def test_what_was_just_written_is_in_memory(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "file").write_bytes(body)
    assert read_cached(str(tmp_path / "file"), len(body), FLAGS) == body


def test_what_the_disk_has_to_be_asked_for_is_not_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(BODY)
    with place.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(file.fileno(), [bytearray(len(BODY))], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            assert read_cached(str(place), len(BODY), FLAGS) is None
        else:
            pytest.skip("this file system keeps everything in memory")


def _longer(place: Path) -> None:
    place.write_bytes(BODY + b"x")


def _shorter(place: Path) -> None:
    place.write_bytes(BODY[:-1])


def _link(place: Path) -> None:
    place.with_name("other").write_bytes(BODY)
    place.symlink_to("other")


@pytest.mark.parametrize("made", [_longer, _shorter, _link, Path.mkdir, os.mkfifo, lambda _place: None])
def test_what_is_not_that_file_is_not_given(tmp_path: Path, made: Callable[[Path], None]) -> None:
    made(tmp_path / "file")
    assert read_cached(str(tmp_path / "file"), len(BODY), FLAGS) is None

"""The one time of a snapshot is whole, merges to the later one, and is never read through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermit_proxy.errors import InputError
from hermit_proxy.snapshot import recorded

PATH = Path(".hermit/recorded")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert recorded.read(tmp_path) is None
    recorded.write(tmp_path, 1_714_564_800.7)
    assert (tmp_path / "recorded").read_bytes() == b"2024-05-01T12:00:00Z\n"
    assert recorded.read(tmp_path) == 1_714_564_800
    recorded.write(tmp_path, 0)
    assert recorded.read(tmp_path) == 0
    assert os.listdir(tmp_path) == ["recorded"]


def test_a_merge_takes_the_later_time() -> None:
    one, other = recorded.dump(1_700_000_000), recorded.dump(1_800_000_000)
    assert recorded.merge([one, other], PATH) == recorded.merge([other, one], PATH) == other


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"yesterday\n",
        b"1714564800\n",
        b"2024-05-01\n",
        b"2024-05-01T12:00:00\n",
        b"2024-05-01T12:00:00+02:00\n",
        b"2024-13-01T12:00:00Z\n",
        b"2024-02-30T12:00:00Z\n",
        b"2024-05-01T12:00:00Z\n\n",
        b"2024-05-01T12:00:00Z\n2024-05-01T12:00:00Z\n",
        b"<<<<<<< HEAD\n2024-05-01T12:00:00Z\n",
        "٢٠٢٤-05-01T12:00:00Z\n".encode(),
        b"\xff",
    ],
)
def test_anything_but_one_time_is_refused(text: bytes) -> None:
    with pytest.raises(InputError, match=r"recorded:1: expected one line"):
        recorded.parse(text, PATH)


@pytest.mark.timeout(20)
def test_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(recorded.dump(0))
    (tmp_path / "recorded").symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="no link"):
        recorded.read(tmp_path)
    (tmp_path / "recorded").unlink()
    for make in (os.mkfifo, os.mkdir):
        make(tmp_path / "recorded")
        with pytest.raises(InputError, match="regular file"):
            recorded.read(tmp_path)
        (tmp_path / "recorded").rename(tmp_path / "seen")
        (tmp_path / "seen").unlink() if (tmp_path / "seen").is_fifo() else (tmp_path / "seen").rmdir()


def test_a_time_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded/occupied").touch()
    with pytest.raises(OSError, match="directory"):
        recorded.write(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["recorded"]

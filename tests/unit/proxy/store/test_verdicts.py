"""A verdict is for exactly the bytes that were hashed: every change of the file ends it."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from hermit_proxy.store import verdicts
from hermit_proxy.store.verdicts import Verdicts, digest_of

A_MINUTE_NS = 60 * 10**9


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note each time that a file is really hashed."""
    calls: list[int] = []

    def counted(fd: int) -> str:
        calls.append(fd)
        return digest_of(fd)

    monkeypatch.setattr(verdicts, "digest_of", counted)
    return calls


@pytest.fixture
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of a test be old enough for a verdict to be kept."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + A_MINUTE_NS)


def ask(known: Verdicts, path: Path, *, again: bool = False) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return known.digest(fd, again=again)
    finally:
        os.close(fd)


@pytest.mark.usefixtures("_later")
def test_a_file_is_hashed_once_and_on_demand(tmp_path: Path, hashed: list[int]) -> None:
    known, path = Verdicts(), tmp_path / "f"
    path.write_bytes(b"x" * 600_000)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [ask(known, path) for _ in range(3)] == [expected] * 3
    assert len(hashed) == 1
    assert ask(known, path, again=True) == expected
    assert len(hashed) == 2


@pytest.mark.usefixtures("_later")
def test_a_changed_byte_is_seen_though_size_and_mtime_are_put_back(tmp_path: Path) -> None:
    known, path = Verdicts(), tmp_path / "f"
    path.write_bytes(b"good")
    before, digest = path.stat(), ask(known, path)
    path.write_bytes(b"evil")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert ask(known, path) == hashlib.sha256(b"evil").hexdigest() != digest


def test_a_file_that_has_only_just_changed_is_hashed_again(
    tmp_path: Path, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, path = Verdicts(), tmp_path / "f"
    path.write_bytes(b"x")
    monkeypatch.setattr(time, "time_ns", lambda: path.stat().st_ctime_ns + 10**7)
    ask(known, path)
    ask(known, path)
    assert len(hashed) == 2


@pytest.mark.usefixtures("_later")
def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[int]) -> None:
    monkeypatch.setattr(verdicts, "_KNOWN", 2)
    known = Verdicts()
    for name in "abc":
        (tmp_path / name).write_bytes(b"x")
        ask(known, tmp_path / name)
    ask(known, tmp_path / "c")
    assert len(hashed) == 3
    ask(known, tmp_path / "a")
    assert len(hashed) == 4

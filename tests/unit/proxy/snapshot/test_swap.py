"""Killed at any instant, a writer leaves the old folder or the new one; two writers never meet."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hermit_proxy.errors import HermitError
from hermit_proxy.snapshot import swap

OLD, NEW = {"a": b"old", "b": b"same"}, {"a": b"new", "b": b"same", "c": b"more"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "network"
    swap.replace(folder, OLD, frozenset())
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_holds_exactly_the_new_files_and_kept_ones_are_the_same_file(folder: Path) -> None:
    inode = (folder / "b").stat().st_ino
    swap.replace(folder, NEW, {"b"})
    assert files(folder) == NEW
    assert (folder / "b").stat().st_ino == inode
    assert os.listdir(folder.parent) == ["network"]


def test_a_file_system_without_links_gets_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    swap.replace(folder, NEW, {"b"})
    assert files(folder) == NEW


def test_a_file_system_that_cannot_exchange_gets_the_new_folder_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_RENAME_EXCHANGE", 1 << 20)  # a flag that the kernel refuses with EINVAL
    swap.replace(folder, NEW, {"b"})
    assert files(folder) == NEW
    assert os.listdir(folder.parent) == ["network"]


def test_a_sweep_puts_the_old_folder_back_where_a_crash_left_none(folder: Path) -> None:
    folder.rename(folder.with_name(".network.old~"))
    folder.with_name(".network.new~").mkdir()
    swap.sweep(folder)
    assert files(folder) == OLD
    assert os.listdir(folder.parent) == ["network"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_writer_that_is_killed_at_any_system_call_leaves_one_or_the_other(folder: Path, exchange: bool) -> None:
    program = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from hermit_proxy.snapshot import swap
        folder, left = Path(sys.argv[1]), int(sys.argv[2])
        if sys.argv[3] == "0":
            swap._RENAME_EXCHANGE = 1 << 20

        def counted(event, arguments):
            global left
            if event in {"open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir", "ctypes.dlopen"}:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), 9)

        with swap.locked(folder.parent):
            swap.sweep(folder)
            sys.addaudithook(counted)
            swap.replace(folder, {"a": b"new", "b": b"same", "c": b"more"}, {"b"})
        """
    )
    killed = 0
    for calls in range(100):
        arguments = [sys.executable, "-c", program, str(folder), str(calls), str(int(exchange))]
        code = subprocess.run(arguments, check=False).returncode
        if folder.exists() or exchange:
            assert files(folder) in (OLD, NEW)
        with swap.locked(folder.parent):
            swap.sweep(folder)
        assert files(folder) in (OLD, NEW)
        assert os.listdir(folder.parent) == ["network"]
        swap.replace(folder, OLD, frozenset())
        if code == 0:
            break
        assert code == -9
        killed += 1
    else:
        pytest.fail("the writer never came to its end")
    assert killed > 5


def test_a_second_writer_waits_and_then_gives_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_LOCK_TRIES", 3)
    monkeypatch.setattr(swap, "_LOCK_PAUSE", 0.0)
    with (
        swap.locked(folder.parent),
        pytest.raises(HermitError, match="another process is writing"),
        swap.locked(folder.parent),
    ):
        pytest.fail("two writers at once")
    with swap.locked(folder.parent):
        pass

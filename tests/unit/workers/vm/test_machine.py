"""Reads a console that a guest wrote; the rest of a machine needs a guest (tests/integration/vm)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from hermit_workers.vm.machine import Machine, thd_sweep


def machine(console: Path) -> Machine:
    daemon: Any = None  # nothing is asked of it here
    return Machine(daemon, None, console)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", ""),
        (b"hermit: 1.0 failed: no disk\r\n", "hermit: 1.0 failed: no disk"),
        (b"\x1b[2J\x1b[31mred\x1b[0m \x07bell\nnext\x00", "red bell\nnext"),
        (b"\xff\xfe caf\xc3\xa9", "caf"),
        (b"x" * 100_000 + b"end", "x" * 1497 + "end"),
    ],
)
def test_last_words_are_the_end_in_letters_that_no_terminal_obeys(tmp_path: Path, said: bytes, told: str) -> None:
    (tmp_path / "console").write_bytes(said)
    assert machine(tmp_path / "console").last_words() == told


def test_a_machine_without_a_console_has_said_nothing(tmp_path: Path) -> None:
    assert machine(tmp_path / "console").last_words() == ""


def test_a_sweep_takes_what_nobody_holds_and_nothing_fresh(tmp_path: Path) -> None:
    for name in ("vm-dead", "vm-held", "vm-fresh", "links"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        if name != "vm-fresh":
            os.utime(tmp_path / name, (0, 0))
    (tmp_path / "vm-link").symlink_to(tmp_path / "links")
    held = os.open(tmp_path / "vm-held", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert thd_sweep(tmp_path) == ["vm-dead"]
    os.close(held)
    assert thd_sweep(tmp_path) == ["vm-held"]
    assert sorted(os.listdir(tmp_path)) == ["links", "vm-fresh", "vm-link"]
    assert (tmp_path / "links/file").exists()

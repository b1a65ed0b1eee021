"""Watches the status line on a real pseudo-terminal, read by a small terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from hermit_cli.progress import Progress


@dataclass(frozen=True)
class Counts:
    requests: int = 0
    bytes: int = 0
    refused: int = 0
    failed: int = 0
    last_refusal: str | None = None


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "80")
    os.set_blocking(ours, False)
    yield Terminal(ours, os.fdopen(theirs, "w"))
    os.close(ours)


@dataclass(frozen=True)
class Terminal:
    ours: int
    theirs: TextIO

    @contextmanager
    def as_stderr(self) -> Iterator[int]:
        # Within the test: what a fixture puts there, pytest's capturing takes away again.
        with self.theirs, redirect_stderr(self.theirs):
            yield self.ours


def written(terminal: int) -> str:
    # The kernel carries what was written across by and by: read until it has been quiet for a moment.
    parts: list[bytes] = []
    while select.select([terminal], [], [], 0.2)[0]:
        parts.append(os.read(terminal, 1 << 16))
    return b"".join(parts).decode()


def test_the_last_row_is_taken_drawn_and_given_back(tty: Terminal) -> None:
    with tty.as_stderr() as terminal:
        progress = Progress("record")
        progress.open()
        said = written(terminal)
        assert "\x1b[1;23r" in said
        assert re.search(r"\x1b\[24;1H.*hermit record", said)
        progress.update(Counts(requests=1))
        assert "1 request · 0 B" in written(terminal)
        progress.update(Counts(requests=3, bytes=2048, refused=1, last_refusal=None))
        assert "3 requests · 2.0 KiB · 1 refused" in written(terminal)
        progress.close()
        # The scrolling region is the whole screen again, and the row is empty.
        assert written(terminal) == "\x1b7\x1b[r\x1b[24;1H\x1b[2K\x1b8"
        progress.close()
        assert written(terminal) == ""


def test_a_resized_terminal_gets_its_line_in_the_new_last_row(tty: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with tty.as_stderr() as terminal:
        progress = Progress("record")
        progress.open()
        written(terminal)
        monkeypatch.setenv("LINES", "40")
        progress.resize()
        assert "\x1b[1;39r" in written(terminal)
        monkeypatch.setenv("LINES", "3")
        progress.resize()
        said = written(terminal)
        assert "\x1b[r" in said
        assert ";2r" not in said


def test_a_refusal_is_told_once_and_without_its_escape_sequences(tty: Terminal) -> None:
    with tty.as_stderr() as terminal:
        progress = Progress("hermetic")
        progress.open()
        written(terminal)
        counts = Counts(1, 0, 1, 0, "GET https://example.org/\x1b[2J")
        progress.update(counts)
        assert "refused GET https://example.org/\\x1b[2J" in written(terminal)
        progress.update(counts)
        assert "refused GET" not in written(terminal)


@pytest.mark.parametrize("quiet", [True, False])
def test_without_a_terminal_there_are_refusals_and_nothing_else(
    quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stderr").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress("record", quiet=quiet)
        progress.open()
        progress.update(Counts(requests=3))
        progress.update(Counts(requests=4, refused=1, last_refusal="GET https://example.org/"))
        progress.close()
    assert (tmp_path / "stderr").read_text() == "hermit: refused GET https://example.org/\n"


def test_quiet_takes_no_row(tty: Terminal) -> None:
    with tty.as_stderr() as terminal:
        Progress("record", quiet=True).open()
        assert written(terminal) == ""


def test_elapsed_time_is_told() -> None:
    now = iter([100.0, 175.0])
    assert Progress("record", clock=lambda: next(now)).status() == "hermit record · 1:15"


def test_a_terminal_that_was_stopped_holds_nobody_up(tty: Terminal) -> None:
    with tty.as_stderr() as terminal:
        progress = Progress("record")
        progress.open()
        written(terminal)
        termios.tcflow(tty.theirs.fileno(), termios.TCOOFF)
        progress.begin("something")
        termios.tcflow(tty.theirs.fileno(), termios.TCOON)
        assert written(terminal) == ""
        progress.draw()
        assert "something" in written(terminal)
        progress.close()

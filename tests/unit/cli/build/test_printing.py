"""Prints through real pipes, quietly and on a pseudo-terminal, in floods and from the background."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
import termios
from pathlib import Path

import pytest

from hermit_cli.build import printing as module
from hermit_cli.build.printing import Printing


def print_steps(folder: Path, *steps: bytes, limit: int = 1 << 20, quiet: bool = True) -> tuple[str, list[int], str]:
    """Print one text a step; give the log, what was dropped of each and the last step's last lines."""

    async def run() -> tuple[list[int], str]:
        printing = Printing(folder / "steps.log", limit=limit, quiet=quiet)
        try:
            dropped = []
            for number, text in enumerate(steps):
                printing.begin_step(f"[{number}]")
                await asyncio.to_thread(os.write, printing.descriptor, text)
                dropped.append(await printing.end_step())
            return dropped, printing.last_lines
        finally:
            printing.close()
            printing.close()

    dropped, last = asyncio.run(run())
    return (folder / "steps.log").read_text(), dropped, last


def test_the_log_has_every_step_with_its_heading_and_no_escape_sequence(tmp_path: Path) -> None:
    log, dropped, last = print_steps(tmp_path, b"\x1b[31mone\x1b[0m\n\x1b]0;t\x07", b"two")
    assert log == "[0]\none\n[1]\ntwo\n"
    assert dropped == [0, 0]
    assert last == "two\n"


def test_what_is_past_the_limit_is_dropped_counted_and_told(tmp_path: Path) -> None:
    log, dropped, _ = print_steps(tmp_path, b"12345678", b"1234", limit=6)
    assert log == "[0]\n123456\nhermit: 2 B more were dropped\n[1]\n1234\n"
    assert dropped == [2, 0]


def test_a_step_that_prints_nothing_has_its_heading_alone(tmp_path: Path) -> None:
    assert print_steps(tmp_path, b"", b"")[0] == "[0]\n[1]\n"


def test_a_flood_from_another_process_ends_at_the_limit_and_holds_nobody_up(tmp_path: Path) -> None:
    async def run() -> int:
        printing = Printing(tmp_path / "steps.log", limit=1 << 20, quiet=True)
        try:
            printing.begin_step("[1]")
            flood = ["sh", "-c", "yes | head -c 33554432"]
            flooding = await asyncio.create_subprocess_exec(*flood, stdout=printing.descriptor)
            await flooding.wait()
            return await printing.end_step()
        finally:
            printing.close()

    assert asyncio.run(run()) == (32 << 20) - (1 << 20)
    assert (tmp_path / "steps.log").stat().st_size < (1 << 20) + 100


def test_what_prints_on_in_the_background_ends_no_step_and_no_build(tmp_path: Path) -> None:
    async def run() -> None:
        printing = Printing(tmp_path / "steps.log", limit=100, quiet=True)
        endless = await asyncio.create_subprocess_exec("yes", stdout=printing.descriptor)
        try:
            for number in range(3):
                printing.begin_step(f"[{number}]")
                await printing.end_step()
        finally:
            printing.close()
            endless.kill()
            await endless.wait()

    asyncio.run(run())


def test_on_a_terminal_the_lines_stand_under_the_heading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with open(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        print_steps(tmp_path, b"\x1b[31mone\n10%\r20%\n\x1b[2Jtwo", quiet=False)
    said = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert said == "  \x1b[31mone\x1b[0m\n  10%\r\x1b[K  20%\x1b[0m\n  two\x1b[0m\n"


def test_where_nobody_wants_colours_there_are_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.dup(2), "w") as stream:  # what pytest has put in its place has no descriptor
        monkeypatch.setattr(sys, "stderr", stream)
        print_steps(tmp_path, b"\x1b[31mone\n10%\r20%\n", quiet=False)
    assert capfd.readouterr().err == "  one\n  10%\n  20%\n"


def test_a_full_disk_ends_no_build(tmp_path: Path) -> None:
    (tmp_path / "steps.log").symlink_to("/dev/full")

    async def run() -> int:
        printing = Printing(tmp_path / "steps.log", limit=1 << 20, quiet=True)
        try:
            printing.begin_step("[1]")
            os.write(printing.descriptor, b"text\n")
            return await printing.end_step()
        finally:
            printing.close()

    assert asyncio.run(run()) == 0


def test_a_terminal_that_was_stopped_does_not_keep_a_build_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    ours, theirs = pty.openpty()
    stream = open(theirs, "w")  # noqa: SIM115  the thread that is left behind still writes there

    async def run() -> None:
        printing = Printing(tmp_path / "steps.log", limit=1 << 20, quiet=False)
        termios.tcflow(theirs, termios.TCOOFF)
        printing.begin_step("[1]")
        os.write(printing.descriptor, b"text\n")
        printing.close()

    monkeypatch.setattr(sys, "stderr", stream)
    asyncio.run(run())
    termios.tcflow(theirs, termios.TCOON)
    assert b"text" in os.read(ours, 1 << 16)
    os.close(ours)

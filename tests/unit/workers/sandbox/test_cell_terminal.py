"""Gives a command in a cell a terminal of its own, as `hermit shell` does."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

import pytest

from hermit_workers.cell import Command, Ended, User
from tests.support.alongside import alongside
from tests.support.sandbox import PATH, image, started


class Terminal:
    """Is the near end of a terminal, with what came out of it."""

    def __init__(self) -> None:
        self.near, self.far = pty.openpty()
        self.text = ""

    async def until(self, words: str) -> str:
        """Read until the words came; the test's own time limit ends it."""
        while words not in self.text:
            self.text += (await asyncio.to_thread(os.read, self.near, 4096)).decode()
        before, _, self.text = self.text.partition(words)
        return before

    def type(self, text: str) -> None:
        os.write(self.near, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def at_terminal(folder: Path, work: Callable[[Terminal], Awaitable[None]], *argv: str, user: User = "build") -> Ended:
    async def run() -> Ended:
        terminal = Terminal()
        try:
            async with started(folder) as cell:
                environment = {"PATH": PATH, "PS1": "> ", "TERM": "dumb"}
                command = Command(argv, environment, PurePosixPath("/build"), user)
                async with alongside(cell.run(command, stdin=terminal.far, output=terminal.far)) as running:
                    await work(terminal)
                    return await running
        finally:
            os.close(terminal.near)
            os.close(terminal.far)

    image()
    return asyncio.run(run())


@pytest.mark.parametrize("user", ["build", "root"])
def test_a_shell_has_job_control_keys_and_the_window(tmp_path: Path, user: User) -> None:
    async def work(terminal: Terminal) -> None:
        await terminal.until("> ")
        terminal.type("stty size; echo o''n >/dev/tty\r")
        assert "0 0" in await terminal.until("on\r\n")
        terminal.resize(24, 80)
        terminal.type("stty size; echo o''n\r")
        assert "24 80" in await terminal.until("on\r\n")
        terminal.type("sh -c 'echo slee''ping; exec sleep 1000'\r")
        await terminal.until("sleeping\r\n")
        terminal.type("\x03")
        terminal.type("echo status $?; echo o''n\r")
        assert "status 130" in await terminal.until("on\r\n")
        terminal.type("exit 6\r")

    assert at_terminal(tmp_path / "cell", work, "bash", "--norc", "-i", user=user) == Ended(6)


def test_a_key_ends_a_command_that_is_no_shell_and_not_the_cell(tmp_path: Path) -> None:
    async def work(terminal: Terminal) -> None:
        await terminal.until("ready")
        terminal.type("\x03")

    script = "echo ready; while :; do sleep 0.05; done"
    assert at_terminal(tmp_path / "cell", work, "sh", "-c", script).status == 130


def test_a_terminal_takes_no_keys_from_the_build(tmp_path: Path) -> None:
    async def work(terminal: Terminal) -> None:
        assert "pushed" not in await terminal.until("end")

    script = "my $key = q(x); ioctl(STDIN, 0x5412, $key) and print qq(pushed\n); print qq(end\n)"
    assert at_terminal(tmp_path / "cell", work, "perl", "-e", script).status == 0

"""Joins real terminals: one of a person's, and the one that a command gets in its place."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from hermit_cli.build.terminals import attached

_VISITOR = """
import asyncio, os
from hermit_cli.build.terminals import attached

async def visit():
    async with attached() as (stdin, out):
        os.write(1, b"ready\\n")
        size = os.get_terminal_size(stdin)
        keys = b""
        while len(keys) < 3:
            keys += await asyncio.to_thread(os.read, stdin, 3)
        os.write(out, f"{size.columns}x{size.lines} {keys!r} {stdin != 0 and os.isatty(out)}".encode())

asyncio.run(visit())
"""


def test_what_a_command_says_is_shown_though_something_holds_on_to_its_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def visit() -> int:
        async with attached() as (stdin, out):
            held = os.dup(out)  # as by what the command leaves running
            os.write(out, b"first\n")
            await asyncio.sleep(0)
            os.write(out, b"last")
        os.close(held)
        assert stdin == 0
        return out

    out = asyncio.run(visit())
    assert capfd.readouterr().out == "first\nlast"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(out)


def test_a_person_gets_a_terminal_for_the_command_with_its_size_and_every_key_and_their_own_back() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-c", _VISITOR]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE) as visitor:
        assert visitor.stdout is not None
        assert visitor.stdout.readline() == b"ready\n"
        # They mean what they mean in the command's terminal: `\x16` takes the next key, an interrupt, as it is.
        os.write(ours, b"a\x16\x03\n")
        try:
            said, _ = visitor.communicate(timeout=60)
        finally:
            visitor.kill()
    assert said.replace(b"\r", b"").endswith(b"99x33 b'a\\x03\\n' True")
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)

"""Says things to people on stderr and one object to programs on stdout, the same way for every command."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from hermit_proxy.errors import HermitError

# URLs and messages come from builds and servers: no escape sequence of theirs reaches the terminal.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_STYLES = {"bad": "\x1b[1;31m", "warn": "\x1b[33m", "good": "\x1b[32m", "dim": "\x1b[2m", "head": "\x1b[1m"}
_END = "\x1b[0m"
_STEP = 1024


def say(text: str = "") -> None:
    """Write one line for people."""
    _say(plain(text))


def say_styled(text: str, style: str) -> None:
    """Write one line in a colour where the terminal has them and the user has not said NO_COLOR."""
    shown = plain(text)
    _say(f"{_STYLES[style]}{shown}{_END}" if coloured(sys.stderr) else shown)


def say_error(error: HermitError, *, as_json: bool = False) -> None:
    """Tell what went wrong and what to do about it."""
    if as_json:
        print_json({"error": str(error), "hint": error.hint, "exit_code": int(error.exit_code)})
        return
    say_styled(f"hermit: {error}", "bad")
    if error.hint:
        say(f"  next: {error.hint}")


def print_json(fields: Mapping[str, Any]) -> None:
    """Write the one object of `--json`; a reader who has gone changes nothing about how the command ends."""
    try:
        json.dump(fields, sys.stdout, indent=2)
        sys.stdout.write("\n")
        sys.stdout.flush()
    except BrokenPipeError:
        abandon(sys.stdout)


def abandon(stream: TextIO) -> None:
    """Send the rest of a stream that nobody reads to nowhere, so that the interpreter's last flush does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        abandon(sys.stderr)


def plain(text: str) -> str:
    """Make control characters visible, so that no log line can play tricks with a terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def coloured(stream: TextIO) -> bool:
    """Tell whether colours help there (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def ready(stream: TextIO) -> bool:
    """Tell whether something can be written there at once; it cannot on a terminal that was stopped (Ctrl-S)."""
    return bool(select.select([], [stream], [], 0)[1])


def bytes_as_text(size: float) -> str:
    """Give a number of bytes as people read it: `532 B`, `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} TiB"


def time_as_text(seconds: float) -> str:
    """Give a duration as people read it: `0.8 s`, `42 s`, `3:05`, `1:02:09`."""
    if seconds < 10:  # noqa: PLR2004  from ten seconds on, tenths say nothing
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004  seconds of a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

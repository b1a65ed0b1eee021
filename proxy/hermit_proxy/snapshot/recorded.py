"""Keeps the one time of a snapshot: when its entries last changed, which is where a build's clock will stand."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from hermit_proxy.errors import InputError, Mistake

FILE_NAME = "recorded"

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_MAX_BYTES = 4096


def dump(time: float) -> bytes:
    """Write a time (seconds since the epoch) as the file has it: UTC, whole seconds, one line."""
    return datetime.fromtimestamp(int(time), UTC).strftime(_FORMAT).encode() + b"\n"


def parse(text: bytes, path: Path) -> int:
    """Read the time in seconds since the epoch; raise InputError for anything but one time."""
    line = text.decode("ascii", "replace").removesuffix("\n")
    expected = [Mistake(path, 1, "expected one line with the time of the recording, such as 2024-05-01T12:00:00Z")]
    if not _TIME.fullmatch(line):
        raise InputError(expected)
    try:
        return int(datetime.strptime(line, _FORMAT).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise InputError(expected) from error


def merge(texts: Iterable[bytes], path: Path) -> bytes:
    """Merge the files of two branches, at least one: the later time holds, because it has seen all entries."""
    return dump(max(parse(text, path) for text in texts))


def read(hermit_dir: Path) -> int | None:
    """Read the time of the snapshot in this folder (`.hermit`); None where nothing was recorded yet.

    Raise InputError for a link or anything else that is no regular file: the folder came with the project.
    """
    path = hermit_dir / FILE_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError([Mistake(path, None, f"expected a readable file, and no link: {error.strerror}")]) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError([Mistake(path, None, "expected a regular file")])
    with os.fdopen(descriptor, "rb") as file:
        return parse(file.read(_MAX_BYTES), path)


def write(hermit_dir: Path, time: float) -> None:
    """Write the time, whole or not at all."""
    fresh = hermit_dir / f".{FILE_NAME}~"
    fresh.unlink(missing_ok=True)
    # "x": a link of that name, which a project could bring along, is not written through.
    try:
        with fresh.open("xb") as file:
            file.write(dump(time))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(hermit_dir / FILE_NAME)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise

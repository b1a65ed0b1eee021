"""Rebuilds as much of a guest's tree as patterns look at: folders, and files of the same size and kind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hermit_workers.sandbox.artifacts.matching import Matcher, Places
from hermit_workers.sandbox.artifacts.patterns import Pattern, PatternError, parse
from hermit_workers.sandbox.artifacts.taking import ENTRIES, FILES, ArtifactError
from hermit_workers.vm.protocol import ProtocolError

# As find(1) prints it: kind, permissions, size and path.
_LINE = re.compile(rb"([a-zA-Z?]) ([0-7]{1,5}) ([0-9]{1,19}) (?:\.|\./(.+))", re.DOTALL)
_EXECUTABLE = 0o100
_MOST_MADE = 3 * FILES  # more files than may leave, and the folders that they are in
_NARROWER = "write patterns that name folders, `target/*.jar` in the place of `**/*.jar`"


def begin(patterns: Sequence[str]) -> list[str]:
    """Give what the list begins at: the folders that patterns name first, or everything; raise ArtifactError."""
    first = {pattern.names[0].plain for pattern in _parsed(patterns)}
    return ["."] if None in first else sorted(f"./{name}" for name in first)


def within(patterns: Sequence[str]) -> list[str]:
    """Give what find(1) is told for it to look into no folder where nothing can match; raise ArtifactError.

    It may list more than matches, never less: `rebuild` judges.
    """
    if any(pattern.names[0].deep for pattern in _parsed(patterns)):
        return []
    ways = "|".join(sorted({_way(pattern) for pattern in patterns}))
    return ["-regextype", "posix-extended", "!", "-regex", rf"\.(/({ways}))?", "-prune", "-o"]


def rebuild(listed: bytes, patterns: Sequence[str], target: Path, *, most: int) -> None:
    """Make in the empty folder `target` what a list tells of and a pattern may mean; raise ArtifactError, OSError.

    Files are holes, none larger than `most` and a byte; links lead nowhere; every other kind is a named pipe. Nothing
    is made but right below a folder that was made here before, so that no name leads anywhere else.
    """
    matcher = Matcher(_parsed(patterns))
    folders: dict[bytes, Places] = {b"": matcher.start()}
    made = 0
    for kind, mode, size, path in _entries(listed):
        above, _, name = path.rpartition(b"/")
        step = matcher.step(folders[above], os.fsdecode(name)) if above in folders else None
        if not step:
            continue
        made += 1
        if made > _MOST_MADE:
            raise ArtifactError(f"artifacts: more than {_MOST_MADE:,} names match", hint=_NARROWER)
        place = os.path.join(os.fsencode(target), path)
        try:
            if kind != b"d":
                _make(place, kind, mode, min(size, most + 1))
            elif below := step.folder():
                os.mkdir(place, 0o700)
                folders[path] = below
        except FileExistsError:
            raise ProtocolError(f"the VM lists {path!r} twice") from None


def _entries(listed: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    at = 0
    for count in range(ENTRIES + 1):
        end = listed.find(b"\0", at)
        if end < 0:
            break
        if count == ENTRIES:
            raise ArtifactError(f"artifacts: too much to look through ({ENTRIES:,} names)", hint=_NARROWER)
        found = _LINE.fullmatch(listed, at, end)
        if found is None or not {b"", b".", b".."}.isdisjoint((path := found[4] or b"x").split(b"/")):
            raise ProtocolError(f"the VM lists {listed[at : min(end, at + 100)]!r}, which is no file")
        if found[4] is not None:
            yield found[1], int(found[2], 8), int(found[3]), path
        at = end + 1
    if at < len(listed):
        raise ProtocolError("the VM's list of files breaks off")


def _make(place: bytes, kind: bytes, mode: int, size: int) -> None:
    if kind == b"l":
        os.symlink("nowhere", place)
    elif kind != b"f":
        os.mkfifo(place, 0o600)
    else:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 | mode & _EXECUTABLE)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)


def _way(pattern: str) -> str:
    """Give an expression for the paths on the way to what a pattern means, and for all below it."""
    first, *rest = pattern.removesuffix("/").split("/")
    below = "/.*"
    for name in reversed(rest):
        below = "/.*" if name == "**" else f"/{_simple(name)}({below})?"
    return f"{_simple(first)}({below})?"


def _simple(name: str) -> str:
    """Give an expression for a name of a pattern; what stands in brackets is any letter."""
    found, rest = "", re.sub(r"\[!?+[^/][^\]/]*\]", "?", name)
    for letter in rest:
        # A `?` is one character, of which find(1) sees the bytes.
        found += {"*": "[^/]*", "?": "[^/]+"}.get(letter) or re.sub(r"([].[{}()+^$|])", r"\\\1", letter)
    return found


def _parsed(patterns: Sequence[str]) -> list[Pattern]:
    return [_parsed_one(pattern) for pattern in patterns]


def _parsed_one(pattern: str) -> Pattern:
    try:
        return parse(pattern)
    except PatternError as error:
        raise ArtifactError(f"artifacts: {pattern!r} is no pattern: {error}") from error

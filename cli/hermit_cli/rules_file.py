"""Adds suggested rules to a rules file: what a person has written there stays, comments and layout included."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from hermit_proxy.closedyaml.file import read_bytes
from hermit_proxy.errors import HermitError, InputError, UsageError
from hermit_proxy.rules.file import load_rules
from hermit_proxy.rules.suggest import SuggestedRule, with_comment

_BY_HAND = "hermit rules suggest shows the rules; put them there by hand"


def add_rules(path: Path, suggested: Sequence[SuggestedRule]) -> None:
    """Add rules to a file without mistakes, in one step; make the file and its folder where they are not there.

    Raise UsageError where the file is laid out so that nothing can be added, HermitError where it cannot be written.
    """
    if path.is_symlink():
        raise UsageError(f"{path} is a link", hint="name the file itself: --rules FILE")
    there = path.exists()
    old = read_bytes(path).decode() if there else ""
    before = [rule.pattern.text for rule in load_rules(path).rules]
    text = merged(old, suggested)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text, _expected(before, suggested))
    except OSError as error:
        raise HermitError(f"{path} cannot be written: {error.strerror}") from error


def merged(text: str, suggested: Sequence[SuggestedRule]) -> str:
    """Give the text of a rules file with rules added: after its last one, or above the one that they must precede.

    Raise UsageError for a list in brackets, which has no lines to add.
    """
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    found = _List.read(text)
    if found is None:
        added = newline.join(["rules:", *_lines(suggested, 2)]) + newline
        return _ended(text, newline) + added
    if not found.items:
        head = [*lines[: found.start[0]], lines[found.start[0]][: found.start[1]].rstrip()]
        tail = lines[found.end[0]][found.end[1] :].rstrip("\r\n")
        added = newline.join([tail, *_lines(suggested, 2)]) + newline
        return "".join([*head, added, *lines[found.end[0] + 1 :]])
    if found.flow:
        raise UsageError("the rules file has its rules in brackets, where no line can be added", hint=_BY_HAND)
    inserts: dict[int, list[str]] = {}
    for rule in suggested:
        at = found.end[0] if rule.above is None else _first_line(lines, found, rule.above)
        inserts.setdefault(at, []).extend(_lines([rule], found.start[1]))
    text, done = "", 0
    for at, added_lines in sorted(inserts.items()):
        text = _ended(text + "".join(lines[done:at]), newline) + newline.join(added_lines) + newline
        done = at
    return text + "".join(lines[done:])


class _Mark(Protocol):
    """Is what libyaml's marks and those of Python's parser have in common."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class _List:
    """Is where the list of rules stands: lines and columns from 0; the end is behind the last line of the last rule."""

    start: tuple[int, int]
    end: tuple[int, int]
    items: tuple[int, ...]
    flow: bool

    @classmethod
    def read(cls, text: str) -> _List | None:
        """Find the list of a file without mistakes; None where the file says nothing."""
        events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        opened = next((event for event in events if isinstance(event, yaml.CollectionStartEvent)), None)
        if opened is None:
            return None
        start = next(event for event in events if isinstance(event, yaml.SequenceStartEvent))
        items: list[int] = []
        end, depth = _at(start.end_mark), 1
        while depth:
            event = next(events)
            if isinstance(event, yaml.CollectionStartEvent):
                items += [_at(event.start_mark)[0]] if depth == 1 else []
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            # The end of a block is no text: it is told where the next thing begins, behind comments.
            if _at(event.start_mark) != _at(event.end_mark):
                end = _at(event.end_mark)
        flow = bool(start.flow_style or opened.flow_style)
        if not flow:
            end = (end[0] + (end[1] > 0), 0)
        return cls(_at(start.start_mark), end, tuple(items), flow)


def _at(mark: _Mark | None) -> tuple[int, int]:
    return (mark.line, mark.column) if mark is not None else (0, 0)


def _first_line(lines: list[str], found: _List, index: int) -> int:
    """Give the line of a rule's dash, or of the comment right above it."""
    at = found.items[index]
    while not lines[at][found.start[1] :].startswith("-"):
        at -= 1
    while lines[at - 1].lstrip().startswith("#"):
        at -= 1
    return at


def _lines(suggested: Sequence[SuggestedRule], indent: int) -> list[str]:
    ordered = sorted(suggested, key=lambda rule: not rule.first)
    return [" " * indent + line[2:] for rule in ordered for line in with_comment(rule).splitlines()]


def _ended(text: str, newline: str) -> str:
    return text + newline if text and not text.endswith(("\n", "\r")) else text


def _expected(before: list[str], suggested: Sequence[SuggestedRule]) -> list[str]:
    """Give the patterns in the order that the file has to have."""
    expected: list[str] = []
    for index, pattern in enumerate(before):
        expected += [*(rule.pattern for rule in suggested if rule.above == index), pattern]
    return expected + [rule.pattern for rule in suggested if rule.above is None]


def _replace(path: Path, text: str, expected: list[str]) -> None:
    """Put a text in the place of a file if it reads as expected; mode and owner stay."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}~")
    try:
        with fresh.open("x", newline="") as file:
            file.write(text)
            file.flush()
            _take_over(path, file.fileno())
            os.fsync(file.fileno())
        try:
            good = [rule.pattern.text for rule in load_rules(fresh).rules] == expected
        except InputError as error:
            message = str(error).replace(str(fresh), str(path))
            raise UsageError(f"with the suggested rules, {message}", hint=_BY_HAND) from error
        if not good:
            raise UsageError(f"nothing can be added to {path} as it is laid out", hint=_BY_HAND)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _take_over(path: Path, descriptor: int) -> None:
    if not path.exists():
        return
    status = path.stat()
    if status.st_uid != os.geteuid() and os.geteuid() == 0:
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))

"""Reads the YAML that people write: a closed subset with positions, so that every mistake names file and line."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

from hermit_proxy.errors import InputError, Mistake

LIMIT_BYTES = 1 << 20
MAX_DEPTH = 16
_MAX_MISTAKES = 50
# A `#` begins a comment only at the start of a line or behind a space; in comments tabs do no harm.
_TAB = re.compile(r"^(?:[^#\n\t ]#|[^#\n\t])*\t", re.MULTILINE)
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """Is one value as it stands in the file: `yes`, `1` and dates stay text until a reader asks for more.

    `plain` tells that it stood there without quotes.
    """

    line: int
    text: str
    plain: bool

    @property
    def nothing(self) -> bool:
        """Tell whether YAML reads this as no value at all."""
        return self.plain and self.text in _NOTHING


@dataclass(frozen=True, slots=True)
class Sequence:
    """Is a list."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Is a mapping in the order of the file; no key occurs twice."""

    line: int
    items: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping


def load(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> Node:
    """Read a file; raise InputError with every mistake. A file without content gives an empty plain scalar."""
    return loads(read_bytes(path, limit_bytes=limit_bytes), path)


def read_bytes(path: Path, *, limit_bytes: int = LIMIT_BYTES, private: bool = False) -> bytes:
    """Read a regular file of at most `limit_bytes`; a pipe or device in its place does not block.

    A `private` file has to belong to the user or root, and nobody else may read or write it.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError([Mistake(path, None, "expected a file, this is something else")])
            if private:
                _check_private(path, status)
            data = file.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError([Mistake(path, None, f"cannot be read: {reason}")]) from error
    if len(data) > limit_bytes:
        raise InputError([Mistake(path, None, f"larger than the {limit_bytes:,} bytes that are read")])
    return data


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        raise InputError([Mistake(path, None, "belongs to another user, who could change it")])
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        told = f"other users may read or write it (mode {mode:04o}); expected 0600"
        raise InputError([Mistake(path, None, told)], hint=f"chmod 600 {path}")


def loads(data: bytes, path: Path) -> Node:
    """Read a text; `path` is what mistakes are told with."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError([Mistake(path, line, f"not UTF-8 (byte {error.start})")]) from error
    if tabs := list(islice(_tab_lines(text), _MAX_MISTAKES)):
        told = r"a tab; indent by spaces (inside double quotes write \t)"
        raise InputError([Mistake(path, line, told) for line in tabs])
    return _Composer(text, path).document()


def _tab_lines(text: str) -> Iterator[int]:
    line, counted = 1, 0
    for found in _TAB.finditer(text):
        line += text.count("\n", counted, found.end())
        counted = found.end()
        yield line


def excerpt(text: str, length: int = 60) -> str:
    """Quote what stood in a file, shortened and without control characters."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")


class _Composer:
    """Builds nodes from libyaml's events; goes on after a mistake that leaves the structure clear."""

    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self._text = text
        self._mistakes: list[Mistake] = []
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._depth = 0

    def document(self) -> Node:
        try:
            root = self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            words = " ".join(filter(None, (error.context, error.problem)))
            self._fatal(mark.line + 1 if mark else None, f"not YAML: {words}", error)
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            self._fatal(line, f"not YAML: {error.reason}", error)
        except yaml.YAMLError as error:
            self._fatal(None, "not YAML", error)
        if self._mistakes:
            raise InputError(self._mistakes[:_MAX_MISTAKES])
        return root

    def _fatal(self, line: int | None, message: str, cause: Exception | None = None) -> None:
        raise InputError([*self._mistakes[:_MAX_MISTAKES], Mistake(self._path, line, message)]) from cause

    def _mistake(self, event: yaml.Event, message: str) -> None:
        if len(self._mistakes) < _MAX_MISTAKES:
            self._mistakes.append(Mistake(self._path, _line(event), message))

    def _document(self) -> Node:
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Scalar(1, "", plain=True)
        if isinstance(event, yaml.DocumentStartEvent) and (event.version or event.tags):
            self._mistake(event, "a % directive is not understood here; leave it out")
        root = self._node(next(self._events))
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._fatal(_line(event), "a second document; a file has one")
        return root

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            self._mistake(event, f"an alias (*{event.anchor}) is not understood here; write the value out")
            return Scalar(_line(event), "", plain=True)
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            self._mistake(event, f"an anchor (&{anchor}) is not understood here; write the value out each time")
        if tag is not None:
            self._mistake(event, f"a tag ({excerpt(tag)}) is not understood here; leave it out")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(_line(event), event.value, plain=not event.style)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fatal(_line(event), f"nested deeper than {MAX_DEPTH} levels")
        node = self._sequence(event) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(event)
        self._depth -= 1
        return node

    def _sequence(self, start: yaml.Event) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event))
        return Sequence(_line(start), tuple(items))

    def _mapping(self, start: yaml.Event) -> Mapping:
        items: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, value = self._node(event), self._node(next(self._events))
            if not isinstance(key, Scalar):
                self._mistake(event, "a key is one word, this is a list or a mapping")
            elif key.text == "<<" and key.plain:
                self._mistake(event, "a merge key (<<) is not understood here; write the keys out")
            elif key.text in items:
                first = items[key.text][0].line
                self._mistake(event, f"the key {excerpt(key.text)} stands here a second time (first: line {first})")
            else:
                items[key.text] = key, value
        return Mapping(_line(start), tuple(items.values()))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1

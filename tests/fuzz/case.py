"""Says what a fuzz target is, and draws values out of octets so that a mutation of them stays a meaningful input."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hermit_proxy.errors import InputError

T = TypeVar("T")
_MAX_MISTAKES = 200
_EDGE = re.compile(rb"\b|(?=\W)|$")
_TOKEN = re.compile(rb"\w+|[^\w\s]|\s+")


@dataclass(frozen=True, slots=True)
class Case:
    """Is one target: `check` tells whether the grammar accepts an input, and raises where that answer is wrong.

    `seeds` are inputs of every shape, `words` what a mutation puts in; `max_length` is in bytes.
    """

    name: str
    check: Callable[[bytes], bool]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
    max_length: int = 4096


def lines_of(data: bytes) -> tuple[str, list[str]]:
    """Read octets as a first line and further ones; each character is one octet (latin-1)."""
    first, *rest = data.decode("latin-1").split("\n")
    return first, rest


def pieces(data: bytes, how: int) -> list[bytes]:
    """Cut a stream as a network might: whole, into equal parts, or at random; `how` (0 to 255) says it."""
    if how == 0 or not data:
        return [data] if data else []
    if how < 32:
        return [data[at : at + how] for at in range(0, len(data), how)]
    cuts = random.Random(how)  # noqa: S311  the same cuts each time
    found, at = [], 0
    while at < len(data):
        size = cuts.choice((1, 2, 3, 7, 40, 200, 1000))
        found.append(data[at : at + size])
        at += size
    return found


def attempt(read: Callable[[], T], *refusals: type[Exception]) -> T | None:
    """Give what was read, None where it was refused; any other exception is a finding."""
    try:
        return read()
    except refusals as error:
        if isinstance(error, InputError):
            _check_mistakes(error)
        return None


def _check_mistakes(error: InputError) -> None:
    assert 0 < len(error.mistakes) <= _MAX_MISTAKES
    assert all(isinstance(mistake.path, Path) for mistake in error.mistakes)
    assert all(mistake.line is None or mistake.line > 0 for mistake in error.mistakes)
    told = str(error)
    told.encode()
    # What a stranger's file has said must not steer the terminal that it is told on.
    steering = {c for c in told if unicodedata.category(c) == "Cc" and c != "\n"}
    assert not steering, f"control characters in a message: {steering!r}"


def mutated(case: Case, data: bytes, rng: random.Random) -> bytes:
    """Change an input by its structure: whole lines and words, so that more of what comes out is nearly right."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice((_put_word, _put_word, _change_lines, _change_token, _join))(case, data, rng)
    return data[: case.max_length]


def _put_word(case: Case, data: bytes, rng: random.Random) -> bytes:
    edges = [found.start() for found in _EDGE.finditer(data)] or [0]
    at = rng.choice(edges)
    word = rng.choice(case.words or (b"\0",))
    return data[:at] + word + data[at + rng.choice((0, 0, 1, len(word))) :]


def _change_lines(case: Case, data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    other = rng.choice(case.seeds).split(b"\n")
    at = rng.randrange(len(lines))
    new = rng.choice(([], [lines[at]] * 2, [rng.choice(other)], [lines[at], rng.choice(other)], [rng.choice(lines)]))
    return b"\n".join([*lines[:at], *new, *lines[at + 1 :]])


def _change_token(_case: Case, data: bytes, rng: random.Random) -> bytes:
    tokens = list(_TOKEN.finditer(data))
    if not tokens:
        return rng.randbytes(4)
    one, two = rng.choice(tokens), rng.choice(tokens)
    new = rng.choice((b"", two.group(), one.group().swapcase(), one.group()[:-1], rng.randbytes(1), one.group() * 2))
    return data[: one.start()] + new + data[one.end() :]


def _join(case: Case, data: bytes, rng: random.Random) -> bytes:
    other = rng.choice(case.seeds)
    if rng.random() < 0.5:
        return data + other[2:]
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]

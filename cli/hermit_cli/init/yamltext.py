"""Writes YAML as a person would: plain words where they can stand, quotes where they must, scripts as blocks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

_WIDTH = 118
# Nothing in such a word can be taken for anything else; the readers here take every word for a text anyway.
_PLAIN = re.compile(r"[A-Za-z~/.][A-Za-z0-9 _./~=+@%^$()*\"'<>-]*(?<! )")
_WORDS = frozenset({"~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def scalar(text: str) -> str:
    """Give a text as one value on one line."""
    # `: ` and ` #` are no part of what is plain, for `:` and `#` are not; inside brackets a comma is none either.
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"


def flow(items: Iterable[str]) -> str:
    """Give a list on one line."""
    return f"[{', '.join(map(scalar, items))}]"


def script(lines: Sequence[str], indent: int) -> str:
    """Give a text of one line or several as the value behind a key, its lines indented so far."""
    if len(lines) == 1 or not all(map(str.isprintable, lines)):
        return scalar("\n".join(lines))
    return "|\n" + "\n".join(" " * indent + line for line in lines)


def comment(text: str, indent: int = 0) -> list[str]:
    """Give a comment, broken where the line is full; what would end it is taken out."""
    start = f"{' ' * indent}# "
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return textwrap.wrap(
        clean,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )

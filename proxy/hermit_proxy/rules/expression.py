"""Wraps RE2 for what strangers write: bounded memory, octets, clear words, and a view of an expression's pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import re2

# For one expression's program and its caches; what does not fit is refused when the file is read.
_MAX_MEMORY = 1 << 18


def compile_re2(text: str, *, ignore_case: bool = False) -> Any:
    """Compile an ASCII expression for octets; raise ValueError for what RE2 refuses."""
    return _compile(text.encode("ascii"), _MAX_MEMORY, ignore_case=ignore_case)


def compile_literals(literals: Iterable[bytes]) -> Any:
    """Compile a search for any of some literal octets, at memory that holds them."""
    quoted = [re2.escape(literal) for literal in sorted(literals)]
    return _compile(b"|".join(quoted), _MAX_MEMORY + 256 * sum(map(len, quoted)))


def _compile(expression: bytes, memory: int, *, ignore_case: bool = False) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = memory
    options.never_capture = True
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        words = reason.decode("latin-1") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression that RE2 reads: {words}") from error


def pieces(text: str) -> list[tuple[int, str]]:
    r"""Cut an expression into characters, escapes (`\.`) and classes (`[a-z]`), with their positions."""
    found: list[tuple[int, str]] = []
    position = 0
    while position < len(text):
        end = position + 1
        if text[position] == "\\":
            end = min(position + 2, len(text))
        elif text[position] == "[":
            end = _class_end(text, position)
        found.append((position, text[position:end]))
        position = end
    return found


def _class_end(text: str, start: int) -> int:
    position = start + 1
    position += text.startswith("^", position)
    # A bracket in the first place is a member of the class.
    position += text.startswith("]", position)
    while position < len(text) and text[position] != "]":
        if text[position] == "\\":
            position += 1
        elif text.startswith("[:", position) and (end := text.find(":]", position + 2)) > 0:
            position = end + 1
        position += 1
    return min(position + 1, len(text))

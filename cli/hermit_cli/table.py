"""Prints what a command found, for people, on stdout: lines, and columns that stand under each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hermit_cli.output import plain


def tell(text: str = "") -> None:
    """Print one line or several; control characters of strangers are made visible."""
    for line in text.split("\n"):
        print(plain(line))


def aligned(rows: Iterable[Sequence[str]], *, indent: str = "  ", right: frozenset[int] = frozenset()) -> list[str]:
    """Give rows of equal length as lines; columns in `right` hold numbers, the last one is not padded."""
    shown = [[plain(cell) for cell in row] for row in rows]
    if not shown:
        return []
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    lines = []
    for row in shown:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def counted(number: int, noun: str) -> str:
    """Give a number with its noun: `1 entry`, `2 entries`, `3 bodies`."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}s"

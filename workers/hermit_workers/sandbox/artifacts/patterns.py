"""Reads the patterns that name a build's artifacts, in a closed grammar that shell users know."""

# A pattern is names between slashes, below the project's folder. In a name `*` stands for any characters, `?` for one,
# `[a-z]` for one of a set and `[!a-z]` for one outside of it; `**` alone for any number of folders, or none. As in a
# shell, none of them stands for the dot that a hidden name begins with, and none follows a symbolic link. What matches
# a folder takes all files below it, hidden ones too, as `cp -r` does; only a `**` at the end means files. A `/` at the
# end wants a folder. There are no escapes (`[*]` is a star), no braces and no exceptions.

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LENGTH = 1024
_MAX_PARTS = 64
_MAX_NAME = 255  # NAME_MAX of every file system that a cell is on
_BRACKET = re.compile(r"\[(!?+)([^/][^\]/]*)\]")
_RANGE = re.compile(r"(.)-([^\]])", re.DOTALL)
_MAGIC = re.compile(r"[*?\[]")


class PatternError(ValueError):
    """Is raised for a pattern that is none, with what was expected."""


@dataclass(frozen=True, slots=True)
class Name:
    """Is one name between slashes: `plain` where it can be nothing else, or an expression, or neither for `**`."""

    plain: str | None = None
    expression: re.Pattern[str] | None = None

    @property
    def deep(self) -> bool:
        """Tell whether it is `**`."""
        return self.plain is None and self.expression is None

    def matches(self, name: str) -> bool:
        """Compare a file's or a folder's name; `**` matches every name that is not hidden."""
        if self.plain is not None:
            return name == self.plain
        if self.expression is not None:
            return self.expression.fullmatch(name) is not None
        return not name.startswith(".")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Is one pattern, parsed; `folder` where it ends in a slash and so means a folder."""

    text: str
    names: tuple[Name, ...]
    folder: bool


def parse(text: str) -> Pattern:
    """Read one pattern, or raise PatternError; the spec's reader calls it before a build begins."""
    if not text.isprintable():
        raise PatternError("it has characters that cannot be shown")
    for wrong, why in (
        (not text, "it is empty"),
        (len(text) > MAX_LENGTH, f"it is longer than {MAX_LENGTH} characters"),
        (text.startswith("/"), "it is absolute; patterns are relative to the project's folder"),
        (text.startswith("!"), "there are no exceptions (`!`); name what is wanted"),
        ("\\" in text, "there are no escapes (`\\`); `[*]` is a star"),
    ):
        if wrong:
            raise PatternError(why)
    parts = text.removesuffix("/").split("/")
    if len(parts) > _MAX_PARTS:
        raise PatternError(f"it has more than {_MAX_PARTS} names between slashes")
    names = [_parse_name(part) for part in parts]
    # A second `**` says nothing new.
    kept = [name for at, name in enumerate(names) if not (name.deep and at and names[at - 1].deep)]
    return Pattern(text, tuple(kept), text.endswith("/"))


def _parse_name(part: str) -> Name:
    if part in {"", ".", ".."}:
        raise PatternError(f"`{part}` between slashes leads nowhere; write plain names")
    if part == "**":
        return Name()
    if "**" in part:
        raise PatternError("`**` stands alone between slashes: `**/*.deb`")
    rest = _BRACKET.sub("", part)
    if "[" in rest:
        raise PatternError("a `[` without its `]`; `[[]` is a bracket")
    if "{" in rest or "}" in rest:
        raise PatternError("there is no choice in braces; write a pattern for each, `[{]` is a brace")
    if _MAGIC.search(part) is None:
        if (length := len(part.encode(errors="surrogatepass"))) > _MAX_NAME:
            raise PatternError(f"a name in it has {length} bytes, and no file's name has more than {_MAX_NAME}")
        return Name(plain=part)
    return Name(expression=re.compile(_expression(part), re.DOTALL))


def _expression(part: str) -> str:
    """Translate one name; atomic groups keep Python's engine from trying all that `*a*a*a` could mean."""
    # The shell's way: each run between stars is found at the first place where it fits, and never moved again.
    runs = [_run(run) for run in _split(part)]
    hidden = r"(?!\.)" if part[0] in "*?[" else ""
    if len(runs) == 1:
        return hidden + runs[0]
    middle = "".join(f"(?>.*?{run})" for run in runs[1:-1] if run)
    return f"{hidden}{runs[0]}{middle}.*{runs[-1]}" if runs[-1] else f"{hidden}{runs[0]}{middle}.*"


def _split(part: str) -> list[str]:
    """Split at the stars that stand in no brackets."""
    runs, at = [""], 0
    while at < len(part):
        bracket = _BRACKET.match(part, at)
        piece = bracket.group() if bracket else part[at]
        if piece == "*":
            runs.append("")
        else:
            runs[-1] += piece
        at += len(piece)
    return runs


def _run(text: str) -> str:
    found, at = [], 0
    while at < len(text):
        bracket = _BRACKET.match(text, at)
        if bracket:
            found.append(_set(bracket.group(1), bracket.group(2)))
        else:
            found.append("." if text[at] == "?" else re.escape(text[at]))
        at += len(bracket.group()) if bracket else 1
    return "".join(found)


def _set(negated: str, content: str) -> str:
    """Translate what stands in brackets; raise PatternError for a range that holds nothing."""
    if content.startswith("^") or any(start in content for start in ("[:", "[.", "[=")):
        raise PatternError(f"`[{content}]` means different things to different shells; write it another way")
    ranges = []
    at = 0
    while at < len(content):
        found = _RANGE.match(content, at)
        first, last = (found.group(1), found.group(2)) if found else (content[at], content[at])
        if first > last:
            raise PatternError(f"the range {first}-{last} is empty")
        ranges.append(f"{re.escape(first)}-{re.escape(last)}")
        at += 3 if found else 1
    return f"[{'^' if negated else ''}{''.join(ranges)}]"

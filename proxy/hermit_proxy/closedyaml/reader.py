"""Turns YAML nodes into values and collects what is wrong with them, so that a person sees all mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from hermit_proxy.closedyaml.file import Mapping, Node, Scalar, Sequence, excerpt
from hermit_proxy.errors import InputError, Mistake

Value = TypeVar("Value")

_MAX_MISTAKES = 50
_MAX_WORD = 64
_INTEGER = re.compile(r"[0-9]{1,18}")
_SIZE = re.compile(r"([0-9]{1,12}) ?(|[kKMGT]i?B?|B)")
_DURATION = re.compile(r"([0-9]{1,9}) ?([smhdw])")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Reader:
    """Reads one file's nodes; every `expect_…` gives None for None, and for a mistake that it has noted."""

    def __init__(self, path: Path) -> None:
        """Take the path that mistakes are told with."""
        self.path = path
        self.mistakes: list[Mistake] = []

    def mistake(self, where: Node | int | None, message: str) -> None:
        """Note a mistake at a node or a line; a file full of them is told by its first ones."""
        if len(self.mistakes) < _MAX_MISTAKES:
            line = where if where is None or isinstance(where, int) else where.line
            self.mistakes.append(Mistake(self.path, line, message))

    def finish(self, *, hint: str | None = None) -> None:
        """Raise InputError when there were mistakes."""
        if self.mistakes:
            raise InputError(self.mistakes, hint=hint)

    def expect_mapping(
        self, node: Node | None, allowed: Collection[str], what: str, *, required: Collection[str] = ()
    ) -> dict[str, Node]:
        """Read a mapping of known keys; unknown ones are left out and noted, `what` names the thing described."""
        items = self.expect_free_mapping(node, what)
        fields: dict[str, Node] = {}
        for key, value in items:
            if key.text in allowed:
                fields[key.text] = value
            else:
                self.mistake(key, f"unknown key {excerpt(key.text)} in {what}{did_you_mean(key.text, allowed)}")
        if isinstance(node, Mapping):
            for name in required:
                if name not in fields:
                    self.mistake(node, f"{what} needs the key `{name}`")
        return fields

    def expect_free_mapping(self, node: Node | None, what: str) -> tuple[tuple[Scalar, Node], ...]:
        """Read a mapping whose keys are names of the writer's choice."""
        if isinstance(node, Mapping):
            return node.items
        if node is not None:
            self.mistake(node, f"expected {what} as a mapping (`key: value`), found {describe(node)}")
        return ()

    def expect_list(self, node: Node | None, what: str) -> tuple[Node, ...]:
        """Read a list; an absent one is empty."""
        if isinstance(node, Sequence):
            return node.items
        if node is not None:
            self.mistake(node, f"expected {what} as a list, found {describe(node)}")
        return ()

    def expect_str(self, node: Node | None, what: str) -> str | None:
        """Read a text that is not empty."""
        if isinstance(node, Scalar) and node.text and not node.nothing:
            return node.text
        if node is not None:
            self.mistake(node, f"expected {what} as a text, found {describe(node)}")
        return None

    def expect_strs(self, node: Node | None, what: str) -> tuple[str, ...] | None:
        """Read one text or a list of them that is not empty."""
        if isinstance(node, Sequence):
            texts = [self.expect_str(item, what) for item in node.items]
            if not texts:
                self.mistake(node, f"expected {what}, found an empty list")
            return tuple(text for text in texts if text is not None)
        text = self.expect_str(node, what)
        return None if text is None else (text,)

    def expect_int(self, node: Node | None, what: str, *, least: int = 0) -> int | None:
        """Read a whole number without quotes."""
        wanted = f"{what} as a whole number of at least {least}"
        return self._scan(node, wanted, lambda text: _at_least(least, int(text) if _INTEGER.fullmatch(text) else None))

    def expect_bool(self, node: Node | None, what: str) -> bool | None:
        """Read `true` or `false`; YAML 1.1's yes, no, on and off are not taken."""
        return self._scan(node, f"{what} as true or false", {"true": True, "false": False}.get)

    def expect_enum(self, node: Node | None, what: str, allowed: Collection[str]) -> str | None:
        """Read one of a few words."""
        if node is None:
            return None
        if isinstance(node, Scalar) and node.text in allowed:
            return node.text
        meant = meant_by(node.text, allowed) if isinstance(node, Scalar) else ""
        self.mistake(node, f"expected {what} as one of {', '.join(allowed)}; found {describe(node)}{meant}")
        return None

    def expect_path(self, node: Node | None, what: str) -> Path | None:
        """Read a path; a relative one begins at the folder of the file that it stands in."""
        text = self.expect_str(node, what)
        if text is None:
            return None
        try:
            return self.path.parent.absolute() / Path(text).expanduser()
        except RuntimeError as error:
            self.mistake(node, f"{what}: {error}")
            return None

    def expect_file(self, node: Node | None, what: str) -> Path | None:
        """Read the path of a file that is there."""
        path = self.expect_path(node, what)
        if path is not None and not path.is_file():
            self.mistake(node, f"{what}: there is no file {path}")
            return None
        return path

    def expect_size(self, node: Node | None, what: str) -> int | None:
        """Read a number of bytes: `4096`, `10 MB` (powers of 1000) or `10 MiB` (powers of 1024)."""
        return self._scan(node, f"{what} as a size (4096, 10 MB or 2 GiB)", _size)

    def expect_duration(self, node: Node | None, what: str) -> float | None:
        """Read seconds from `90s`, `30m`, `12h`, `3d` or `2w`."""
        return self._scan(node, f"{what} as a time (90s, 30m, 12h, 3d or 2w)", _duration)

    def _scan(self, node: Node | None, wanted: str, scan: Callable[[str], Value | None]) -> Value | None:
        if node is None:
            return None
        value = scan(node.text) if isinstance(node, Scalar) and node.plain else None
        if value is None:
            self.mistake(node, f"expected {wanted}; found {describe(node)}")
        return value


def describe(node: Node) -> str:
    """Say what a node is, in a few words for a message."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    return "nothing" if node.nothing or not node.text else excerpt(node.text) + ("" if node.plain else " in quotes")


def did_you_mean(word: str, allowed: Collection[str]) -> str:
    """Give `; did you mean …?` where one of the allowed words is close, else all of them as `; known: …`."""
    return meant_by(word, allowed) or f"; known: {', '.join(allowed)}"


def meant_by(word: str, allowed: Collection[str]) -> str:
    """Give `; did you mean …?` where one of the allowed words is close, else nothing."""
    by_lower = {name.lower().replace("_", "-"): name for name in allowed}
    lowered = word[:_MAX_WORD].lower().replace("_", "-")
    close = get_close_matches(lowered, by_lower, n=1, cutoff=0.6)
    return f"; did you mean `{by_lower[close[0]]}`?" if close else ""


def _at_least(least: int, number: int | None) -> int | None:
    return number if number is not None and number >= least else None


def _size(text: str) -> int | None:
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    unit = found.group(2).lower().removesuffix("b")
    base = 1024 if unit.endswith("i") else 1000
    factor: int = base ** _POWERS[unit.removesuffix("i")]
    return int(found.group(1)) * factor


def _duration(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    return None if found is None else float(int(found.group(1)) * _SECONDS[found.group(2)])

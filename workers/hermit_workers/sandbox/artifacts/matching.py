"""Follows patterns down a tree, name by name, so that no folder is looked into where nothing can match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hermit_workers.sandbox.artifacts.patterns import Name, Pattern

_Place = tuple[int, int]  # number of a pattern, and which of its names comes next


@dataclass(frozen=True, slots=True)
class Places:
    """Is what may match in one folder: how far each pattern has come, and those that take everything below it."""

    reached: frozenset[_Place] = frozenset()
    whole: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        """Tell whether anything can match."""
        return bool(self.reached or self.whole)


@dataclass(frozen=True, slots=True)
class Step:
    """Is what a name in a folder means.

    `reached`: what may match below it, if it is a folder; `ended`: patterns that mean it, whatever it is;
    `files`: patterns that mean it if it is no folder; `folders`: patterns that mean it only if it is one;
    `named`: whether a pattern names it as a folder on its way, letter by letter.
    """

    reached: frozenset[_Place]
    ended: frozenset[int]
    files: frozenset[int]
    folders: frozenset[int]
    named: bool

    def __bool__(self) -> bool:
        """Tell whether it means anything."""
        return bool(self.reached or self.ended or self.files or self.folders)

    def folder(self) -> Places:
        """Give what may match below it."""
        return Places(self.reached, self.ended | self.folders)

    def file(self, *, link: bool) -> frozenset[int]:
        """Give the patterns that mean it; a link is taken for what was asked for, and is refused then."""
        return self.ended | self.files | (self.folders if link else frozenset())


class Matcher:
    """Follows several patterns at once."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        """Take them in the order in which they are numbered."""
        self._patterns = patterns

    def start(self) -> Places:
        """Give what may match at the top."""
        return Places(self._closed((number, 0) for number in range(len(self._patterns))))

    def plain(self, places: Places) -> set[str] | None:
        """Give the names that can match, None where a folder has to be listed for them."""
        if places.whole:
            return None
        names = {self._name(place).plain for place in places.reached}
        return {name for name in names if name is not None} if None not in names else None

    def step(self, places: Places, name: str) -> Step:
        """Read one name in a folder."""
        reached: set[_Place] = set()
        ended, files, folders = set(places.whole), set[int](), set[int]()
        named = False
        for number, at in places.reached:
            expected = self._name((number, at))
            if not expected.matches(name):
                continue
            last = at == len(self._patterns[number].names) - 1
            wants_folder = self._patterns[number].folder
            if expected.deep:
                reached.add((number, at))
                if last:
                    (folders if wants_folder else files).add(number)
            elif last:
                (folders if wants_folder else ended).add(number)
            else:
                reached.add((number, at + 1))
                named = named or expected.plain is not None
        return Step(self._closed(reached), frozenset(ended), frozenset(files), frozenset(folders), named)

    def _name(self, place: _Place) -> Name:
        number, at = place
        return self._patterns[number].names[at]

    def _closed(self, places: Iterable[_Place]) -> frozenset[_Place]:
        """Add where a pattern is when its `**` stands for no folder; two of them never follow each other."""
        found = set(places)
        for number, at in tuple(found):
            if self._name((number, at)).deep and at + 1 < len(self._patterns[number].names):
                found.add((number, at + 1))
        return frozenset(found)
